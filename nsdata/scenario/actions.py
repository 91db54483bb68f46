"""What may happen in a scenario: one model for each `do` of an `[[action]]`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from nsdata.appliance.sensor_files import resource_of
from nsdata.config.health import KIND_OF_RESOURCE
from nsdata.fallback.sensor import MAX_NAME
from nsdata.offload.registers import ErrorClass
from nsdata.scenario.parts import Duration, Name, Part, ProcessName, Rate, Size, of
from nsdata.units import duration_text, size_text

_ERRORS = tuple(name for name in ErrorClass.__members__ if name != "ECC_CE")


class Action(Part):
    """Keys of every action. `at` or `at_packet`, one of them."""

    name: Name | None = of(None, "what expectations call it (`after`)")
    at: Duration | None = of(None, "so long after the start")
    at_packet: int | None = of(None, "when so many packets have come", ge=1)

    @model_validator(mode="after")
    def _once(self) -> Self:
        if (self.at is None) == (self.at_packet is None):
            raise ValueError('say when: either at = "2s" or at_packet = 5000')
        return self

    @property
    def what(self) -> str:
        """In a few words, for a report."""
        raise NotImplementedError


class SetRate(Action):
    """Offer another load from now on."""

    do: Literal["rate"]
    rate: Rate = of(..., "packets/s, such as `20kpps`")

    @property
    def what(self) -> str:
        return f"offer {self.rate:g} packets/s"


class Pause(Action):
    """Offer nothing; then the load there was."""

    do: Literal["pause"]
    lasts: Duration = of(..., "how long", alias="for", gt=0)

    @property
    def what(self) -> str:
        return f"no traffic for {duration_text(self.lasts)}"


class Burst(Action):
    """Offer another load for a while; then the load there was."""

    do: Literal["burst"]
    rate: Rate = of(..., "packets/s meanwhile")
    lasts: Duration = of(..., "how long", alias="for", gt=0)

    @property
    def what(self) -> str:
        return f"burst of {self.rate:g} packets/s for {duration_text(self.lasts)}"


def _error(value: object) -> object:
    if value not in _ERRORS:
        raise ValueError(f"legal: {', '.join(_ERRORS)}")
    return value


class FpgaError(Action):
    """The FPGA block notes an error, through its own register; takes `appliance.offload = true`."""

    do: Literal["fpga-error"]
    error: Annotated[str, BeforeValidator(_error)] = of("SEU", "class, as docs/fpga-errors.md")

    @property
    def what(self) -> str:
        return f"FPGA error {self.error}"


class _OfProcess(Action):
    process: ProcessName = of(..., "`worker-0`, …, `port` or `writer`")


class Kill(_OfProcess):
    """A process is killed (SIGKILL), as by a crash."""

    do: Literal["kill"]

    @property
    def what(self) -> str:
        return f"kill {self.process}"


class Stop(_OfProcess):
    """A process hangs (SIGSTOP): it neither works nor beats."""

    do: Literal["stop"]

    @property
    def what(self) -> str:
        return f"stop {self.process}"


class Continue(_OfProcess):
    """A stopped process goes on (SIGCONT)."""

    do: Literal["continue"]

    @property
    def what(self) -> str:
        return f"continue {self.process}"


class Bloat(_OfProcess):
    """A process grows to so much resident memory; one that is restarted is small again."""

    do: Literal["bloat"]
    to: Size = of(..., "resident memory, such as `5gb`")

    @property
    def what(self) -> str:
        return f"bloat {self.process} to {size_text(self.to)}"


class Corrupt(_OfProcess):
    """A worker writes over the memory in which it answers: it claims what it was never given."""

    do: Literal["corrupt"]

    @model_validator(mode="after")
    def _worker(self) -> Self:
        if not self.process.startswith("worker-"):
            raise ValueError("only a worker answers; legal: worker-0, worker-1, …")
        return self

    @property
    def what(self) -> str:
        return f"corrupt the answers of {self.process}"


def _sensor(value: object) -> object:
    fine = isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()
    fine = fine and "/" not in str(value) and not str(value).endswith((".toml", ".tmp", "~"))
    if not fine or resource_of(str(value)) not in KIND_OF_RESOURCE:
        kinds = ", ".join(KIND_OF_RESOURCE)
        raise ValueError(f"legal: a name that begins with its resource, one of {kinds}")
    return value


class SetSensor(Action):
    """A sensor reads this from now on; one that is named is there from the start, in order."""

    do: Literal["sensor"]
    sensor: Annotated[str, BeforeValidator(_sensor)] = of(
        ..., "begins with what it is of: `temperature-inlet`, `fan-1`, `psu-2`, `memory-use`, …"
    )
    value: float | None = of(None, "in the unit of docs/health.md", allow_inf_nan=False)
    missing: bool = of(False, "instead: it gives no reading any more")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.value is None) is not self.missing:
            raise ValueError("say either value = 95 or missing = true")
        return self

    @property
    def what(self) -> str:
        return f"sensor {self.sensor} " + ("gone" if self.missing else f"reads {self.value:g}")


class FillDisk(Action):
    """The disk of the output fills up."""

    do: Literal["fill-disk"]
    leave: Size = of(0, "so much is left")

    @property
    def what(self) -> str:
        return f"disk full but for {size_text(self.leave)}"


class FreeDisk(Action):
    """What filled the disk is taken away."""

    do: Literal["free-disk"]

    @property
    def what(self) -> str:
        return "disk freed"


class Fallback(Action):
    """An operator puts it into fallback."""

    do: Literal["fallback"]
    note: str = of("", "why, for the record", max_length=200)

    @property
    def what(self) -> str:
        return "fallback by hand"


class Restore(Action):
    """An operator restores it; refused while a cause holds."""

    do: Literal["restore"]
    force: bool = of(False, "even while a cause holds")

    @property
    def what(self) -> str:
        return "restore by hand" + (", forced" if self.force else "")


class Reload(Action):
    """Other rules, without a packet lost; without either key the same again."""

    do: Literal["reload"]
    rules: tuple[str, ...] = of((), "rule files, relative to the scenario")
    rule_text: str = of("", "or: rules written here", max_length=1 << 20)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.rules and self.rule_text:
            raise ValueError("say either rules or rule_text")
        return self

    @property
    def what(self) -> str:
        return "reload of rules"


KINDS: tuple[type[Action], ...] = (
    SetRate, Pause, Burst, FpgaError, Kill, Stop, Continue, Bloat, Corrupt, SetSensor, FillDisk,
    FreeDisk, Fallback, Restore, Reload,
)  # fmt: skip

AnyAction = Annotated[
    SetRate | Pause | Burst | FpgaError | Kill | Stop | Continue | Bloat | Corrupt | SetSensor
    | FillDisk | FreeDisk | Fallback | Restore | Reload,
    Field(discriminator="do"),
]  # fmt: skip


def do_of(kind: type[Action]) -> str:
    """What `do` says of it."""
    return str(kind.model_fields["do"].annotation.__args__[0])  # type: ignore[union-attr]
