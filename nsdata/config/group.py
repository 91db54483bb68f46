"""What every group of settings is made with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


class Group(BaseModel):
    """Base of the groups: frozen, unknown keys refused, names written with hyphens."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=_hyphens, populate_by_name=True
    )


def of(default: Any, text: str, **limits: Any) -> Any:
    """A setting: its default, what it means, and limits as pydantic's Field takes them."""
    return Field(default=default, description=text, validate_default=True, **limits)
