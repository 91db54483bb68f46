"""What the models of a scenario are made with: base, kinds of values, names."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nsdata.appliance.processes import PORT, WRITER
from nsdata.units import parse_duration, parse_rate, parse_size

NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,62}$"
LONGEST_NS = 24 * 3600 * 10**9  # of a scenario
MOST_RATE = 10_000_000.0  # packets/s


class Part(BaseModel):
    """Base: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _rate(value: Any) -> float:
    rate = parse_rate(str(value))
    if not 0.001 <= rate <= MOST_RATE:
        raise ValueError("legal: a rate of 0.001pps to 10Mpps")
    return rate


def _duration(value: Any) -> int:
    duration = parse_duration(value)
    if duration > LONGEST_NS:
        raise ValueError("legal: a duration of at most 24h")
    return duration


def _process(value: Any) -> str:
    text = str(value)
    kind, dash, number = text.partition("-")
    worker = kind == "worker" and dash and number.isdecimal() and len(number) < 3
    if not (isinstance(value, str) and (text in (PORT, WRITER) or worker)):
        raise ValueError(f"legal: worker-0, worker-1, …, {PORT} or {WRITER}")
    return text


Rate = Annotated[float, BeforeValidator(_rate)]
Duration = Annotated[int, BeforeValidator(_duration)]
Size = Annotated[int, BeforeValidator(parse_size)]
ProcessName = Annotated[str, BeforeValidator(_process)]
Name = Annotated[str, Field(pattern=NAME)]


def of(default: Any, text: str, **limits: Any) -> Any:
    """A key: its default (... for none), what it means, limits as pydantic's Field takes them."""
    return Field(default=default, description=text, **limits)
