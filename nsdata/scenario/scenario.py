"""A scenario file: read, checked, its paths made whole. docs/scenarios.md is its reference.

Whatever is wrong with it is a SettingError that names file, line and key, and what is legal.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ValidationError, field_validator, model_validator

from nsdata.config.settings import TREE, Settings
from nsdata.errors import SettingError
from nsdata.fallback.exposure import DEFAULT_SEGMENT
from nsdata.scenario.actions import (
    KINDS,
    AnyAction,
    Corrupt,
    FpgaError,
    Reload,
    do_of,
)
from nsdata.scenario.expect import Expect
from nsdata.scenario.parts import Duration, Part, Rate, Size, of
from nsdata.toml_text import KeyPath, place_of, read_toml

LARGEST_FILE = 1 << 20
MOST_ENTRIES = 1000
WORKERS_MOST = 16
MOST_MADE = 100_000  # frames, of each direction


class Generate(Part):
    """Traffic made up: UDP between `flows` pairs of addresses, question and answer in turn."""

    flows: int = of(64, "pairs of addresses", ge=1, le=10_000)
    size: int = of(200, "bytes of a frame", ge=64, le=1514)
    attack_every: int = of(0, "every so many-th frame carries the word `ATTACK`; 0: none", ge=0)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.flows * self.attack_every > MOST_MADE:
            raise ValueError(f"flows times attack_every: legal: at most {MOST_MADE}")
        return self


class Traffic(Part):
    """What is offered: `captures` in order, or `generate`, again and again."""

    captures: tuple[str, ...] = of((), "capture files, relative to the scenario")
    generate: Generate | None = of(None, "or: made-up traffic; `{}` for the usual")
    rate: Rate = of(1000.0, "packets/s; time stamps are made by it")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.captures) == (self.generate is not None):
            raise ValueError("name either captures or generate, not both and not neither")
        return self


class Appliance(Part):
    """The box it happens to."""

    workers: int = of(1, "inspecting processes", ge=1, le=WORKERS_MOST)
    capacity: Rate | None = of(
        None, "packets/s that a worker inspects, in virtual time; none: as many as come"
    )
    offload: bool = of(False, "the FPGA block (its model) beside the worker; with one worker")
    inline: bool = of(True, "drop and reject rules act")
    in_fallback: Literal["permit", "block"] = of("permit", "what becomes of traffic in fallback")
    slots: int = of(64, "batches in flight to a worker, a power of two", ge=2, le=4096)
    frames: int = of(64, "frames of a batch", ge=1, le=4096)
    start_time: Duration = of(
        300_000_000, "until a process that is started again is ready, in virtual time"
    )
    memory: Size = of(200 << 20, "resident memory of a process, in virtual time")
    disk: Size = of(10 << 30, "free on the disk of the output, in virtual time")

    @field_validator("slots")
    @classmethod
    def _power(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("a power of two is legal")
        return value

    @model_validator(mode="after")
    def _one_block(self) -> Self:
        if self.offload and self.workers != 1:
            raise ValueError(f"offload: one block serves one worker, not {self.workers}")
        return self


class File(Part):
    """Keys at the top; `duration` and `[traffic]` are needed."""

    title: str = of("", "in a line, for reports", max_length=120)
    story: str = of("", "what happens, for reports", max_length=10_000)
    duration: Duration = of(..., "of the scenario", gt=0)
    rules: tuple[str, ...] = of((), "rule files, relative to the scenario")
    rule_text: str = of("", "or: rules written here", max_length=1 << 20)
    traffic: Traffic = of(..., "what is offered")
    appliance: Appliance = of(Appliance(), "the box it happens to")
    settings: dict[str, Any] = of({}, "settings of docs/operations.md, by key")
    action: tuple[AnyAction, ...] = of(
        (), "what happens, in order of time", max_length=MOST_ENTRIES
    )
    expect: tuple[Expect, ...] = of((), "what must be true", max_length=MOST_ENTRIES)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.rules and self.rule_text:
            raise ValueError("say either rules or rule_text")
        return self


Lines = Mapping[KeyPath, int] | None


class _Wrong(Exception):
    """A fault that pydantic does not see: at which key, and what is legal."""

    def __init__(self, loc: KeyPath, why: str) -> None:
        super().__init__(why)
        self.loc, self.why = loc, why


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that is sound. `path` is the file; `base` what paths in it are relative to."""

    path: str
    file: File
    settings: Settings
    base: Path
    lines: Mapping[KeyPath, int] = field(repr=False, default_factory=dict)
    data: Mapping[str, Any] = field(repr=False, default_factory=dict)  # as it was read
    sets: tuple[str, ...] = ()  # of `compare`: key=value, over what the file says

    @property
    def name(self) -> str:
        """Of the file, without its ending."""
        return Path(self.path).name.removesuffix(".toml")

    @property
    def title(self) -> str:
        """In a line."""
        return self.file.title or self.name

    def place(self, *key: str | int) -> str:
        """FILE:LINE of a key."""
        return place_of(self.lines, self.path, key)

    def found(self, given: str) -> Path:
        """A path of the file."""
        return self.base / given

    def with_sets(self, sets: tuple[str, ...]) -> Scenario:
        """The same under another policy: `key=value`, of the settings, of `appliance.` or
        `traffic.`. Raises SettingError."""
        data: dict[str, Any] = dict(self.data)
        settings = dict(data.get("settings", {}))
        for pair in sets:
            key, _, value = pair.partition("=")
            group, _, name = key.partition(".")
            if group in ("appliance", "traffic"):
                data[group] = {**data.get(group, {}), name: value}
            else:
                settings = _without(settings, key)
                settings[key] = value
        data["settings"] = settings
        made = _validated(data, None, f"--set {', '.join(sets)}", self.base)
        return replace(made, path=self.path, lines=self.lines, sets=sets)


def load(path: str | os.PathLike[str]) -> Scenario:
    """Read and check a scenario file. Raises SettingError."""
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        text = raw.decode("utf-8")
    except OSError as error:
        raise SettingError(f"{name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise SettingError(f"{name}:{line}: not UTF-8 text") from None
    if len(raw) > LARGEST_FILE:
        raise SettingError(f"{name}: larger than {LARGEST_FILE} bytes")
    return parse(text, name, Path(path).resolve().parent)


def parse(text: str, path: str, base: Path) -> Scenario:
    """The scenario that `text` is; `base`: what its paths are relative to. Raises SettingError."""
    data, lines = read_toml(text, path)
    return _validated(data, lines, path, base)


def _validated(data: Mapping[str, Any], lines: Lines, path: str, base: Path) -> Scenario:
    try:
        file = File.model_validate(data)
    except ValidationError as faults:
        raise _explained(faults, lines, path) from None
    settings = _settings(file.settings, lines, path)
    for name in settings.exposure.named():
        if name != DEFAULT_SEGMENT:
            where = place(lines, path, ("settings",))
            raise SettingError(f"{where}: exposure.*.{name}: a scenario has one segment, `default`")
    scenario = Scenario(path, file, settings, base, lines or {}, data)
    try:
        _check(scenario)
    except _Wrong as wrong:
        key = ".".join(map(str, wrong.loc))
        raise SettingError(f"{place(lines, path, wrong.loc)}: {key}: {wrong.why}") from None
    return scenario


def place(lines: Lines, path: str, key: KeyPath) -> str:
    """FILE:LINE, of line 1 where the key stands nowhere: it is missing. `path` where `lines` is
    None: it is no file."""
    if lines is None:
        return path
    found = place_of(lines, path, key)
    return found if found != path else f"{path}:1"


def _explained(faults: ValidationError, lines: Lines, path: str) -> SettingError:
    first = faults.errors()[0]
    loc = tuple(part for part in first["loc"] if part != "[key]")
    kinds = {do_of(kind) for kind in KINDS}
    if len(loc) > 2 and loc[0] == "action" and loc[2] in kinds:
        loc = (*loc[:2], *loc[3:])  # the discriminator is no key
    key = ".".join(map(str, loc)) or "the file"
    why = first["msg"].removeprefix("Value error, ").replace("Input should be", "legal:")
    if first["type"] == "extra_forbidden":
        why = f"unknown key; legal: {', '.join(_keys_at(loc, first))}"
    elif first["type"] == "missing":
        why = "is missing"
    elif first["type"].startswith("union_tag"):
        why = f"do says what happens; legal: {', '.join(do_of(kind) for kind in KINDS)}"
    elif not isinstance(first["input"], Mapping | list | tuple | Part):
        key += f" = {first['input']!r:.60}"
    return SettingError(f"{place(lines, path, loc)}: {key}: {why}")


def _keys_at(loc: KeyPath, fault: Mapping[str, Any]) -> list[str]:
    """The keys that are legal where an unknown one stands."""
    model: type[Part] = File
    if loc[0] == "action" and len(loc) > 1:
        tag = fault["loc"][2]
        model = next(kind for kind in KINDS if do_of(kind) == tag)
    elif loc[0] == "expect" and len(loc) > 1:
        model = Expect
    elif len(loc) > 1:
        groups: dict[str, type[Part]] = {"traffic": Traffic, "appliance": Appliance}
        model = groups.get(str(loc[0]), File)
        if loc[:2] == ("traffic", "generate"):
            model = Generate
    return [field.alias or name for name, field in model.model_fields.items()]


def _settings(values: Mapping[str, Any], lines: Lines, path: str) -> Settings:
    given: dict[str, Any] = {}
    places: dict[str, str] = {}
    for key, value, inner in TREE.flatten(values):
        where = place(lines, path, ("settings", *inner))
        places[TREE.put(given, key, value, where)] = where
    try:
        return Settings.model_validate(given)
    except ValidationError as fault:
        raise TREE.explain(fault, places) from None


def _without(settings: dict[str, Any], key: str) -> dict[str, Any]:
    """The settings without this one, however it was written."""
    return {name: value for name, value, _ in TREE.flatten(settings) if name != key}


def _check(scenario: Scenario) -> None:
    """What hangs together. Raises _Wrong."""
    file = scenario.file
    for number, one in enumerate(file.rules):
        _exists(scenario, one, ("rules", number))
    for number, one in enumerate(file.traffic.captures):
        _exists(scenario, one, ("traffic", "captures", number))
    names: set[str] = set()
    for number, action in enumerate(file.action):
        loc: KeyPath = ("action", number)
        if action.name is not None and action.name in names:
            raise _Wrong((*loc, "name"), f"{action.name!r} is the name of another action")
        names |= {action.name} if action.name else set()
        if action.at is not None and action.at >= file.duration:
            raise _Wrong((*loc, "at"), "lies after the end; make duration longer")
        process = getattr(action, "process", "")
        if process.startswith("worker-") and int(process[7:]) >= file.appliance.workers:
            legal = f"legal: worker-0 to worker-{file.appliance.workers - 1}, port or writer"
            raise _Wrong((*loc, "process"), f"there is no {process}; {legal}")
        if isinstance(action, FpgaError) and not file.appliance.offload:
            raise _Wrong((*loc, "do"), "takes an FPGA block: set appliance.offload = true")
        if isinstance(action, Corrupt) and process in ("port", "writer"):
            raise _Wrong((*loc, "process"), "only a worker answers")
        if isinstance(action, Reload):
            for at, one in enumerate(action.rules):
                _exists(scenario, one, (*loc, "rules", at))
    for number, expect in enumerate(file.expect):
        loc = ("expect", number)
        if expect.after is not None and expect.after not in names:
            known = ", ".join(sorted(names)) or "none has a name yet"
            raise _Wrong(
                (*loc, "after"), f"no action is called {expect.after!r}; there are: {known}"
            )
        ends = (expect.at or 0) + (expect.lasts or 0)
        if ends > file.duration:
            key = "at" if (expect.at or 0) > file.duration else "for"
            raise _Wrong((*loc, key), "lies after the end; make duration longer")


def _exists(scenario: Scenario, given: str, loc: KeyPath) -> None:
    if not scenario.found(given).is_file():
        raise _Wrong(loc, f"there is no file {given} (paths are relative to the scenario)")
