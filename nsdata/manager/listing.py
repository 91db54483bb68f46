"""Lists in parts: a cursor is where the last part ended, so nothing is skipped or told twice when
rows come and go in between. Sorting by a column, then by a key."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal, or_

from nsdata.manager.problems import Problem

LIMIT, LIMIT_MOST = 50, 500
Order = Mapping[str, tuple[ColumnElement[Any], str | float]]  # by name: column, what null is


def encode(value: str | float | None, key: str | int) -> str:
    """Where a part ends."""
    return base64.urlsafe_b64encode(json.dumps([value, key]).encode()).decode().rstrip("=")


def decode(cursor: str, kind: type, key_kind: type) -> tuple[Any, Any]:
    """The other way. Raises Problem (422)."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        value, key = found
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind or type(key) is not key_kind:
            raise ValueError
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
        for one in (value, key):
            if (isinstance(one, str) and "\0" in one) or (isinstance(one, int) and abs(one) >> 63):
                raise ValueError
            str(one).encode()
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise Problem(
            422,
            "cursor: take it from `next` of the answer before, with the same sort",
            kind="cursor",
        ) from None
    return value, key


def sorted_part(
    query: Select[Any],
    order: Order,
    sort: str,
    key: ColumnElement[Any],
    cursor: str | None,
    limit: int,
) -> tuple[Select[Any], ColumnElement[Any]]:
    """(the rows of one part and one more, what they are sorted by). `sort` is a name of `order`,
    with - before it: downwards; those alike come by `key`, upwards. Raises Problem (422)."""
    down, name = sort.startswith("-"), sort.removeprefix("-")
    if name not in order:
        raise Problem(422, f"sort: legal are {', '.join(order)}, with - before it: downwards")
    column, null = order[name]
    by = func.coalesce(column, literal(null))
    if cursor is not None:
        value, last = decode(cursor, type(null), str)
        beyond = by < value if down else by > value
        query = query.where(or_(beyond, and_(by == value, key > last)))
    return query.order_by(by.desc() if down else by.asc(), key.asc()).limit(limit + 1), by


def newest_part(
    query: Select[Any], key: ColumnElement[Any], cursor: str | None, limit: int
) -> Select[Any]:
    """The rows of one part and one more, newest first, of a table with growing numbers."""
    if cursor is not None:
        _, last = decode(cursor, type(None), int)
        query = query.where(key < last)
    return query.order_by(key.desc()).limit(limit + 1)


def part(rows: Sequence[Any], limit: int) -> tuple[Sequence[Any], bool]:
    """(the rows of the part, whether there are more)."""
    return rows[:limit], len(rows) > limit


def like(text: str) -> str:
    """A pattern for LIKE … ESCAPE '\\' that finds `text` anywhere."""
    for one in ("\\", "%", "_"):
        text = text.replace(one, f"\\{one}")
    return f"%{text}%"
