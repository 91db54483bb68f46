"""What a run of a scenario leaves on the disk, and what it came to as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nsdata.errors import OutputError, SettingError
from nsdata.output.eve_file import output_error, write_whole
from nsdata.scenario.judge import Verdict, states
from nsdata.scenario.run import Result

VIRTUAL_ENDINGS = ("eve.json", "summary.json", "ledger.json")


def summary(result: Result) -> dict[str, Any]:
    """JSON-ready, keys in a fixed order; times are seconds after the start."""
    record = result.record
    return {
        "scenario": result.scenario.name,
        "title": result.scenario.title,
        "real": record.real,
        "sets": list(result.scenario.sets),
        "ok": result.ok,
        "seconds": record.seconds(record.end_ns),
        "packets": {
            name: getattr(record.ledger, name).packets
            for name in ("received", "inspected", "bypassed", "blocked", "lost")
        },
        "alerts": {str(sid): record.alerts[sid] for sid in sorted(record.alerts)},
        "eve_lines": record.lines,
        "eve_lines_lost": record.lines_lost,
        "states": [
            {"at": record.seconds(one.at_ns), "packet": one.packet, "state": one.state,
             "reason": one.reason, "severity": one.severity}
            for one in states(record)
        ],
        "actions": [
            {"at": record.seconds(one.at_ns), "packet": one.packet, "name": one.name,
             "what": one.what}
            for one in record.done
        ],
        "expectations": [expectation(one) for one in result.verdicts],
        "transitions": record.entries,
    }  # fmt: skip


def expectation(verdict: Verdict) -> dict[str, Any]:
    """JSON-ready."""
    return {
        "title": verdict.title, "expected": verdict.expected, "ok": verdict.ok,
        "found": verdict.found, "skipped": verdict.skipped,
    }  # fmt: skip


def as_json(value: Any) -> str:
    """A document, indented."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_run(result: Result, directory: Path) -> None:
    """EVE lines, summary and ledger of a run, named by its scenario. Raises OutputError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(str(directory), "write into", error) from error
    write_whole(directory / f"{result.scenario.name}.eve.json", result.record.eve)
    told = as_json(summary(result))
    write_whole(directory / f"{result.scenario.name}.summary.json", told)
    ledger = as_json(result.record.ledger.as_dict())
    write_whole(directory / f"{result.scenario.name}.ledger.json", ledger)


def check_names(paths: Sequence[Path]) -> None:
    """Raise SettingError when two scenarios have one name: the second would be written over the
    first."""
    seen: dict[str, Path] = {}
    for path in paths:
        name = path.name.removesuffix(".toml")
        if name in seen:
            raise SettingError(f"{path} and {seen[name]} are both called {name}; rename one")
        seen[name] = path


def create(path: Path, text: str) -> None:
    """Write a file that is not there yet. Raises OutputError."""
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise OutputError(f"{path} is there already; choose another name") from None
    except OSError as error:
        raise output_error(str(path), "write", error) from error
