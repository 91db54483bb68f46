"""Netlist check: what can reach the spine's data path."""

from __future__ import annotations

from pathlib import Path


def check(root: Path, work: Path, rtl: Path) -> tuple[bool, str]:
    """Not yet."""
    return False, f"{root} {work} {rtl}"
