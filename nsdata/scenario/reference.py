"""The reference of a scenario's keys, from the models themselves (docs/scenarios.md holds it)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from nsdata.scenario.actions import KINDS, Action, do_of
from nsdata.scenario.expect import Expect
from nsdata.scenario.parts import Part
from nsdata.scenario.scenario import Appliance, File, Generate, Traffic
from nsdata.units import duration_text, size_text

_RATES, _SIZES, _TIMES = {"rate", "capacity"}, {"memory", "disk", "leave"}, {"start_time"}
TABLES: tuple[tuple[str, str, type[Part]], ...] = (
    ("The file", "", File),
    ("`[traffic]`", "traffic", Traffic),
    ("`generate`", "generate", Generate),
    ("`[appliance]`", "appliance", Appliance),
)


def markdown() -> str:
    """Every table, every action, every expectation."""
    lines: list[str] = []
    for title, _, model in TABLES:
        lines += [f"### {title}", "", *_about(model), *_table(model), ""]
    lines += ["### `[[action]]`", "", *_about(Action), *_table(Action), ""]
    for kind in KINDS:
        lines += [f'#### `do = "{do_of(kind)}"`', "", *_about(kind)]
        own = set(kind.model_fields) - set(Action.model_fields) - {"do"}
        if own:
            lines += [*_table(kind, own)]
        lines.append("")
    lines += ["### `[[expect]]`", "", *_about(Expect), *_table(Expect), ""]
    return "\n".join(lines).rstrip() + "\n"


def _about(model: type[Part]) -> Iterator[str]:
    yield " ".join(inspect.cleandoc(model.__doc__ or "").split())
    yield ""


def _table(model: type[Part], only: set[str] | None = None) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "| --- | --- | --- |"
    for name, field in model.model_fields.items():
        if only is not None and name not in only:
            continue
        meaning = f"{field.description}{_bounds(field)}"
        yield f"| `{field.alias or name}` | {_default(name, field.default)} | {meaning} |"


def _bounds(field: FieldInfo) -> str:
    """What a number may be, where that is stated and says something."""
    found = {key: getattr(one, key) for one in field.metadata for key in ("ge", "le")
             if getattr(one, key, None) is not None}  # fmt: skip
    if "le" in found:
        return f" ({found.get('ge', '')} to {found['le']})"
    return f" (at least {found['ge']})" if found.get("ge") else ""


def _default(name: str, value: object) -> str:
    """As one would write it."""
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, Part) or value is None or value in ("", (), {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float) and name in _RATES:
        return f"`{value:g}pps`"
    if isinstance(value, int) and name in _SIZES | _TIMES:
        return f"`{size_text(value) if name in _SIZES else duration_text(value)}`"
    return f"`{value}`"


if __name__ == "__main__":
    print(markdown(), end="")
