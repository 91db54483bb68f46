"""What takes a while in an appliance, followed on the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

LOOK_S = 0.1  # between two looks
Ask = Callable[..., dict[str, Any]]
"""ask(command, **members): the answer of the appliance. Raises EngineError."""


def bar(quiet: bool) -> Progress:
    """A bar on standard error; nothing where that is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(), console=console, transient=True,
        disable=quiet or not console.is_terminal,
    )  # fmt: skip


def follow_reboot(ask: Ask, told: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """What there is to say of a reboot once it is over. Raises EngineError."""
    number = told["id"]
    with bar(quiet) as shown:
        task = shown.add_task("reboot", total=told.get("of"))
        while told["state"] == "running":
            shown.update(task, completed=told["step"] - 1, description=told["what"])
            time.sleep(LOOK_S)
            now: dict[str, Any] = ask("status")["reboot"]
            if now["id"] != number:  # another one has begun since: this one is over
                return dict(ask("reboot", id=number)["reboot"])
            told = now
    return told


def follow_report(ask: Ask, told: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """What became of a support report, once it is over. Raises EngineError."""
    with bar(quiet) as shown:
        task = shown.add_task("report", total=1.0)
        while told["state"] not in ("done", "failed", "cancelled"):
            doing = f"{told['state']} {told['doing']}"
            shown.update(task, completed=told["progress"], description=doing)
            time.sleep(LOOK_S)
            told = ask("report-status", id=told["id"])
    return told
