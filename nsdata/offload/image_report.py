"""The report inside an image: what it came to, and the check of one that was read from a file."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

Report = dict[str, Any]


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Told(_Exact):
    """A pattern in words."""

    pattern: str
    rules: str


class Common(Told):
    """A pattern whose window is common: in such a share of frames it is expected."""

    share: float


class _Report(_Exact):
    """What compile_image writes, all of it."""

    rules: int
    patterns: int
    slots: int
    capacity: int
    load: float
    full_buckets: int
    windows: dict[str, int]
    seed: int
    seeds_tried: int
    sample_frames: int
    chance_share: float
    common_windows: int
    common: list[Common]
    short_patterns: int
    short: list[Told]
    ranges: list[str]
    always_software: int
    always_reasons: dict[str, int]
    always: list[tuple[str, str, int]]


def read_report(text: bytes) -> Report:
    """The report of a file's JSON. Raises ValueError, saying what is wrong where."""
    try:
        _Report.model_validate_json(text)
        report: Report = json.loads(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where + ': ' if where else ''}{first['msg']}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return report
