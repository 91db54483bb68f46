"""Dotted keys of a tree of pydantic models: find, set, explain, list.

`config` holds the models; this knows how a key such as `stream.reassembly.depth` leads
through them, and what else stands where a key leads nowhere.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from nsdata.errors import SettingError
from nsdata.toml_text import KeyPath
from nsdata.units import duration_text, size_text

SECRET = re.compile(r"passw|secret|token|credential|private|(^|[._-])key($|[._-])", re.IGNORECASE)


class Shape(StrEnum):
    """What a setting holds, and so which keys lead below it."""

    ONE = "one value"
    LIST = "list"  # KEY.0, KEY.1, …
    MAP = "map"  # KEY.NAME
    MAP_OF_LISTS = "map of lists"  # KEY.NAME.0, …


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: dotted name, shape, default as written, and what it means."""

    name: str
    shape: Shape
    default: Any
    text: str


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Every setting of the tree, in order."""
    for field_name, field in model.model_fields.items():
        name = prefix + (field.alias or field_name)
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, name + ".")
            continue
        shape = Shape.ONE
        if get_origin(kind) is tuple:
            shape = Shape.LIST
        elif get_origin(kind) is Mapping:
            values = get_args(kind)[1]
            shape = Shape.MAP_OF_LISTS if "tuple" in str(values) else Shape.MAP
        yield Key(name, shape, field.default, field.description or "")


class Tree:
    """The keys of one root model."""

    def __init__(self, model: type[BaseModel], aliases: Mapping[str, str]) -> None:
        self.keys = {key.name: key for key in keys(model)}
        self.aliases = aliases
        self._groups = {
            ".".join(name.split(".")[:end])
            for name in self.keys
            for end in range(1, name.count(".") + 1)
        }

    def find(self, name: str) -> tuple[Key, list[str]] | None:
        """The setting `name` leads to, and what of it is left: entry and index."""
        for alias, real in self.aliases.items():
            if name == alias or (alias.endswith(".") and name.startswith(alias)):
                name = real + name[len(alias) :]
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            key = self.keys.get(".".join(parts[:end]))
            if key is None:
                continue
            rest = parts[end:]
            longest = {Shape.ONE: 0, Shape.LIST: 1, Shape.MAP: 1, Shape.MAP_OF_LISTS: 2}
            if len(rest) > longest[key.shape]:
                return None
            indexed = key.shape is Shape.LIST or (len(rest) == 2)
            if rest and indexed and not (rest[-1].isascii() and rest[-1].isdigit()):
                return None
            if rest and indexed and len(rest[-1]) > 6:
                return None
            return key, rest
        return None

    def flatten(
        self, values: Mapping[str, Any], path: KeyPath = ()
    ) -> Iterator[tuple[str, Any, KeyPath]]:
        """Nested mappings as (dotted name, value, path); stops at settings."""
        for part, value in values.items():
            here = (*path, part)
            name = ".".join(str(p) for p in here)
            if isinstance(value, Mapping) and self.find(name) is None and self.is_group(name):
                yield from self.flatten(value, here)
            elif isinstance(value, Mapping) and (found := self.find(name)) and not found[1]:
                for entry, inner in value.items():
                    yield f"{name}.{entry}", inner, (*here, entry)
            else:
                yield name, value, here

    def is_group(self, name: str) -> bool:
        return name in self._groups or any(alias.startswith(name + ".") for alias in self.aliases)

    def put(self, given: dict[str, Any], name: str, value: Any, origin: str) -> str:
        """Set `name` in the nested `given`; the real name. SettingError if unknown."""
        found = self.find(name)
        if found is None:
            raise self.unknown(name, origin)
        key, rest = found
        *groups, last = key.name.split(".")
        for group in groups:
            given = given.setdefault(group, {})
        if not rest:
            given[last] = value
            return key.name
        if key.shape is not Shape.LIST:
            given = given.setdefault(last, {})
            last = rest[0]
        if key.shape is Shape.LIST or len(rest) == 2:
            held = given.get(last)
            if not isinstance(held, dict):
                given[last] = held = dict(enumerate(held)) if isinstance(held, list) else {}
            held[int(rest[-1])] = value
        else:
            given[last] = value
        return ".".join([key.name, *rest])

    def unknown(self, name: str, origin: str) -> SettingError:
        where = f"{origin}: " if origin else ""
        if self.is_group(name):
            inside = [key for key in self.keys if key.startswith(name + ".")]
            return SettingError(f"{where}{name} is a group of settings: {', '.join(inside)}")
        close = difflib.get_close_matches(name, list(self.keys), n=3, cutoff=0.6)
        hint = f": did you mean {' or '.join(close)}?" if close else ""
        return SettingError(f"{where}unknown setting {name!r}{hint} (docs/operations.md lists all)")

    def explain(self, fault: ValidationError, places: Mapping[str, str]) -> SettingError:
        """The first fault as a SettingError: place, key, value, what is legal."""
        error = fault.errors()[0]
        parts = [str(part) for part in error["loc"] if part != "[key]"]
        name = ".".join(parts)
        while parts and self.find(".".join(parts)) is None and not self.is_group(".".join(parts)):
            parts.pop()
        name = ".".join(parts) or name
        near = [key for key in places if _related(key, name)]
        place = places[name if name in places else near[-1]] if near else ""
        reason = error["msg"].removeprefix("Value error, ")
        reason = reason.replace("Input should be", "legal:").replace(
            "legal: a valid integer", "legal: an integer"
        )
        if error["type"].startswith("bool"):
            reason = "legal: true, false, yes or no"
        value = error["input"]
        shown = "" if isinstance(value, Mapping | BaseModel) else f" = {value!r}"
        return SettingError(f"{place + ': ' if place else ''}{name}{shown}: {reason}")

    def rows(self, given: BaseModel, usual: BaseModel) -> Iterator[tuple[str, str, bool]]:
        """Every setting of `given`: dotted name, value as one would write it, and whether it is
        another than in `usual`. What is named like a secret is not told."""
        values, others = (one.model_dump(mode="json", by_alias=True) for one in (given, usual))
        for key in self.keys.values():
            value, other = (_below(one, key.name) for one in (values, others))
            if not isinstance(value, Mapping):
                yield key.name, _told(key.name, value, key.default), value != other
                continue
            for entry, inner in value.items():
                name = f"{key.name}.{entry}"
                changed = not isinstance(other, Mapping) or other.get(entry) != inner
                yield name, _told(name, inner, None), changed

    def markdown_table(self) -> str:
        """All settings with default and meaning, as docs/operations.md holds them."""
        rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
        for key in self.keys.values():
            if isinstance(key.default, Mapping):
                rows.append(f"| `{key.name}.NAME` | | {key.text} |")
                rows += [
                    f"| `{key.name}.{entry}` | `{_shown(value)}` | |"
                    for entry, value in key.default.items()
                ]
            else:
                shown = _shown(key.default)
                rows.append(f"| `{key.name}` | {f'`{shown}`' if shown else ''} | {key.text} |")
        return "\n".join(rows) + "\n"


def _related(key: str, name: str) -> bool:
    """Whether one is the other or stands below it."""
    return (key + ".").startswith(name + ".") or (name + ".").startswith(key + ".")


def _below(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values[part]
    return values


def _told(name: str, value: Any, default: Any) -> str:
    """A value in the unit its default is written in."""
    if SECRET.search(name):
        return "(not shown)"
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(default, str):
        return size_text(value) if default.endswith("b") else duration_text(value)
    return _shown(value)


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return str(value)
