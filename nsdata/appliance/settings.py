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
    [segment.guests]                     # virtual segments, the first that takes a frame has it
    vlan = [20, 21]
    networks = ["192.0.2.0/24"]
    [metrics]                            # and log, notify: monitoring_settings.py
    listen = "127.0.0.1:9464"
    [settings]                           # as in docs/operations.md
    drop-meter.threshold = 0.9

Paths are relative to the file. A key or value that makes no sense is a SettingError that names
file, line and key.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from nsdata.appliance.monitoring.settings import (
    LogSettings,
    MetricsSettings,
    NotifySettings,
    read_key,
    read_secret,
)
from nsdata.appliance.reports.settings import SupportSettings
from nsdata.config.settings import Settings
from nsdata.errors import SettingError
from nsdata.fallback.exposure import DEFAULT_SEGMENT, Exposure, SegmentAction
from nsdata.files import read_whole
from nsdata.path.port import WORKERS_MOST
from nsdata.path.port_segments import SEGMENTS_MOST
from nsdata.path.ring import LARGEST_FRAME
from nsdata.toml_text import KeyPath, place_of, read_toml
from nsdata.units import parse_rate

LARGEST = 4 << 20  # bytes of the file
Rate = Annotated[float, BeforeValidator(lambda value: parse_rate(str(value)))]
SegmentName = Annotated[str, Field(pattern=r"^\w[\w -]{0,62}$")]
Vlan = Annotated[int, Field(ge=0, le=4094)]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )  # fmt: skip


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


class SegmentSettings(_Part):
    """Which frames are of a virtual segment: of these VLANs (where any are named) and from or to
    these networks (where any are named)."""

    vlan: list[Vlan] = []
    networks: list[IPvAnyNetwork] = []

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.vlan and not self.networks:
            raise ValueError("name VLANs (vlan = [20]), networks (networks = [\"192.0.2.0/24\"]), "
                             "or both")  # fmt: skip
        return self


class ApplianceSettings(_Part):
    """The whole file."""

    name: str = Field("appliance", min_length=1, max_length=63, pattern=r"^[\w.-]+$")
    directory: str = "nsdata-appliance"
    rules: list[str] = []
    inline: bool = True
    workers: int = Field(1, ge=1, le=WORKERS_MOST)
    offload: str | None = None  # the FPGA block, as --offload of replay; with one worker
    testing: bool = False  # the commands `inject`, `bloat` and `offer` are there
    in_fallback: SegmentAction = SegmentAction.PERMIT  # of segments without exposure.action
    source: SourceSettings
    output: OutputSettings = OutputSettings()
    ring: RingSettings = RingSettings()
    segment: dict[SegmentName, SegmentSettings] = {}
    support: SupportSettings = SupportSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    notify: NotifySettings = NotifySettings()
    settings: dict[str, Any] = {}
    _options: Settings = PrivateAttr(default_factory=Settings)

    @property
    def options(self) -> Settings:
        """The table `settings`, checked, with defaults."""
        return self._options

    @field_validator("segment")
    @classmethod
    def _segments(cls, value: dict[str, SegmentSettings]) -> dict[str, SegmentSettings]:
        if DEFAULT_SEGMENT in value:
            raise ValueError(f"{DEFAULT_SEGMENT} is what no other segment takes: it has no VLANs "
                             "and no networks of its own")  # fmt: skip
        if len(value) > SEGMENTS_MOST:
            raise ValueError(f"at most {SEGMENTS_MOST} segments are possible, not {len(value)}")
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
            text = read_whole(file, LARGEST).decode()
        except (OSError, ValueError) as error:
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
        try:
            found.exposure()
        except SettingError as error:
            place = place_of(lines, str(path), _exposure_key(found.settings))
            raise SettingError(f"{place}: {error}") from None
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
                "support": self.support.absolute(base, Path(directory)),
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

    @property
    def segments(self) -> list[str]:
        """Their names, in the order of their numbers; `default` last."""
        return segment_names(self.segment)

    def exposure(self) -> Exposure:
        """Who decides about segments. Raises SettingError for settings that make no sense, or of a
        segment that there is not."""
        settings, names = self.options.exposure, self.segments
        for name in settings.named():
            if name not in names:
                raise SettingError(f"exposure.*.{name}: there is no segment {name!r}; there are "
                                   f"{', '.join(names)}")  # fmt: skip
        return settings.build(names, self.in_fallback)

    def segment_plan(self) -> list[dict[str, Any]]:
        """The named segments, as the port's plan has them."""
        return [
            {"vlan": one.vlan, "networks": list(map(str, one.networks))}
            for one in self.segment.values()
        ]

    def source_plan(self) -> dict[str, Any]:
        """The source, as the port's plan has it."""
        source = self.source
        if source.directory:
            return {"directory": source.directory, "rate": source.rate}
        return {"captures": source.captures, "rate": source.rate, "loops": source.loops}


def segment_names(named: Iterable[str]) -> list[str]:
    """All segments; `default` last."""
    return [*named, DEFAULT_SEGMENT]


def _exposure_key(settings: dict[str, Any]) -> tuple[str, ...]:
    """Where the first setting of exposure stands."""
    first = next((key for key in settings if key.split(".")[0] == "exposure"), "")
    return ("settings", first)


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A tree of tables as dotted keys."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
