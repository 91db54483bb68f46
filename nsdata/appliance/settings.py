"""What an appliance is told at its start: one TOML file, typed and checked.

    name = "edge-1"
    directory = "/var/lib/nsdata"        # store, socket, EVE; made if need be
    rules = ["emerging.rules"]
    workers = 1
    [source]
    captures = ["office.pcap"]           # looped; or: directory = "/var/spool/nsdata"
    rate = "20kpps"
    [output]
    eve = "eve.json"
    forward = "forwarded.pcap"           # optional
    [metrics]                            # and log, notify: monitoring_settings.py
    listen = "127.0.0.1:9464"
    [settings]                           # as in docs/operations.md
    drop-meter.threshold = 0.9

Paths are relative to the file. A key or value that makes no sense is a SettingError that names
file, line and key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from nsdata.appliance.monitoring_settings import (
    LogSettings,
    MetricsSettings,
    NotifySettings,
    read_key,
    read_secret,
)
from nsdata.config import Settings
from nsdata.errors import SettingError
from nsdata.path.port import WORKERS_MOST
from nsdata.path.ring import LARGEST_FRAME
from nsdata.toml_text import KeyPath, place_of, read_toml
from nsdata.units import parse_rate

Rate = Annotated[float, BeforeValidator(lambda value: parse_rate(str(value)))]


# Settings whose decisions the appliance does not carry out yet: none is ignored in silence.
IDLE = ("exposure.", "protection.")
CARRIED_OUT = ("protection.best-effort.",)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(_Part):
    """Where frames come from: captures that are looped, or a directory that is being filled."""

    captures: list[str] = []
    directory: str | None = None
    rate: Rate = 0.0  # packets/s; 0: as fast as they are taken
    loops: int = Field(0, ge=0)  # 0: for ever

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.captures) == bool(self.directory):
            raise ValueError("name either captures or a directory, not both and not neither")
        return self


class OutputSettings(_Part):
    """What is written."""

    eve: str = "eve.json"
    forward: str | None = None  # a capture of what was forwarded


class RingSettings(_Part):
    """The rings between port and workers."""

    slots: int = 64
    frames: int = 64  # of a slot
    room: int = LARGEST_FRAME  # bytes of a slot's frames


class ApplianceSettings(_Part):
    """The whole file."""

    name: str = Field("appliance", min_length=1, max_length=63, pattern=r"^[\w.-]+$")
    directory: str = "nsdata-appliance"
    rules: list[str] = []
    inline: bool = True
    workers: int = Field(1, ge=1, le=WORKERS_MOST)
    offload: str | None = None  # the FPGA block, as --offload of replay; with one worker
    testing: bool = False  # the commands `inject`, `bloat` and `offer` are there
    in_fallback: Literal["permit", "block"] = "permit"  # what the segment does then
    source: SourceSettings
    output: OutputSettings = OutputSettings()
    ring: RingSettings = RingSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    notify: NotifySettings = NotifySettings()
    settings: dict[str, Any] = {}
    _options: Settings = PrivateAttr(default_factory=Settings)

    @property
    def options(self) -> Settings:
        """The table `settings`, checked, with defaults."""
        return self._options

    @field_validator("settings")
    @classmethod
    def _carried_out(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key, _ in flat(value):
            if key.startswith(IDLE) and not key.startswith(CARRIED_OUT):
                raise ValueError(f"{key} is decided and not carried out yet; leave it out")
        return value

    @model_validator(mode="after")
    def _one_block(self) -> Self:
        if self.offload and self.workers != 1:
            raise ValueError(f"offload: one block serves one worker, not {self.workers}")
        return self

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read and check; paths become absolute. Raises SettingError."""
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{path}: cannot be read: {error}") from error
        data, lines = read_toml(text, str(path))
        try:
            found = cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            place = place_of(lines, str(path), tuple(first["loc"]))
            key = ".".join(map(str, first["loc"]))
            raise SettingError(f"{place}: {key or 'the file'}: {first['msg']}") from error
        found._options = Settings.from_mapping(
            found.settings, lambda key: place_of(lines, str(path), ("settings", *key))
        )
        found = found._absolute(file.resolve().parent)
        found._secrets(lines, str(path))
        return found

    def _secrets(self, lines: Mapping[KeyPath, int], path: str) -> None:
        """Refuse to start without a secret that is asked for."""
        webhook = self.notify.webhook
        for key, file, read in (
            (("metrics", "token-file"), self.metrics.token_file, read_secret),
            (("notify", "webhook", "secret-file"), webhook and webhook.secret_file, read_key),
        ):
            try:
                if file:
                    read(file)
            except ValueError as error:
                place = place_of(lines, path, key)
                raise SettingError(f"{place}: {'.'.join(key)}: {error}") from error

    def _absolute(self, base: Path) -> Self:
        def at(path: str) -> str:
            return str(base / path)

        directory = at(self.directory)
        source, output = self.source, self.output
        metrics, notify = self.metrics, self.notify
        if metrics.token_file:
            metrics = metrics.model_copy(update={"token_file": at(metrics.token_file)})
        if webhook := notify.webhook:
            files = {"secret_file": webhook.secret_file, "ca_file": webhook.ca_file}
            found = {name: file and at(file) for name, file in files.items()}
            notify = notify.model_copy(update={"webhook": webhook.model_copy(update=found)})
        return self.model_copy(
            update={
                "directory": directory,
                "rules": [at(path) for path in self.rules],
                "metrics": metrics,
                "notify": notify,
                "source": source.model_copy(
                    update={
                        "captures": [at(path) for path in source.captures],
                        "directory": source.directory and at(source.directory),
                    }
                ),
                "output": output.model_copy(
                    update={
                        "eve": str(Path(directory) / output.eve),
                        "forward": output.forward and str(Path(directory) / output.forward),
                    }
                ),
            }
        )

    def source_plan(self) -> dict[str, Any]:
        """The source, as the port's plan has it."""
        source = self.source
        if source.directory:
            return {"directory": source.directory, "rate": source.rate}
        return {"captures": source.captures, "rate": source.rate, "loops": source.loops}


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A tree of tables as dotted keys."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
