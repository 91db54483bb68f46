"""What a run came to, as one JSON document. Every figure is a plain value; docs/summary.md
is generated from this model (tests compare the two)."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from nsdata.output.eve_file import write_whole


class Part(BaseModel):
    """Base: unknown members are refused, NaN and infinity become null."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="null", populate_by_name=True)


class RuleCount(Part):
    """A rule and how often it acted."""

    sid: int = Field(description="signature_id")
    gid: int = 1
    signature: str = Field(default="", description="msg of the rule")
    alerts: int = Field(default=0, ge=0, description="alerts written")
    drops: int = Field(
        default=0, ge=0, description="packets it blocked, those of its dropped flows too"
    )


class BypassRuleCount(Part):
    """An inspection bypass rule and how often it decided."""

    id: int
    name: str = ""
    action: str = Field(description="bypass or block")
    hits: int = Field(default=0, ge=0, description="packets it decided on")


class Drops(Part):
    """The drop ratio: (blocked + lost) / received, in a sliding window and over all."""

    ratio: float = Field(default=0.0, ge=0, le=1, description="over the whole run")
    peak: float = Field(default=0.0, ge=0, le=1, description="highest judged ratio of a window")
    peak_at: str | None = Field(default=None, description="time of the peak, as EVE writes it")
    peak_seconds: float | None = Field(
        default=None, description="the same, seconds after the first packet"
    )
    threshold: float = Field(default=0.9, ge=0, le=1, description="above it the engine falls back")
    window_seconds: float = Field(default=5.0, gt=0, description="length of the window")
    minimum_packets: int = Field(
        default=200, ge=1, description="a window of fewer packets is not judged"
    )
    attribution: str | None = Field(
        default=None, description="over-subscription, over-tuning, both"
    )


class OffloadPart(Part):
    """The FPGA offload: what the block said, what that spared, how it was checked."""

    transport: str = Field(description="how the block was reached: model, rtl, cocotb, pcie")
    active: bool = Field(description="in use at the end of the run")
    verdicts: dict[str, int] = Field(
        default_factory=dict, description="frames by hardware verdict: fault, clear, suspect, "
        "bypass, block",
    )  # fmt: skip
    spared_share: float = Field(
        default=0.0, ge=0, le=1, description="share of the frames that are clear or bypass"
    )
    rules_covered: int = Field(default=0, ge=0, description="rules its tables stand for")
    checks: int = Field(default=0, ge=0, description="frames judged by the software as well")
    disagreements: int = Field(default=0, ge=0, description="of these, judged differently")
    flows_inserted: int = Field(default=0, ge=0, description="keys given to its flow table")
    flows_refused: int = Field(default=0, ge=0, description="keys that found no place in it")
    flushes: int = Field(default=0, ge=0, description="times its flow table was emptied")
    recoveries: int = Field(default=0, ge=0, description="times it was brought back after an error")
    block_errors: dict[str, int] = Field(
        default_factory=dict, description="errors the block counted, by class; ECC_CE are harmless"
    )
    seams: int = Field(default=0, ge=0, description="seams of streams that were tested")
    seam_hits: int = Field(default=0, ge=0, description="of these, with a window across")
    scanned_bytes: int = Field(
        default=0, ge=0, description="bytes of the software's searches; a byte counts in each "
        "(packet, stream, port group)",
    )  # fmt: skip
    spared_bytes: int = Field(
        default=0, ge=0, description="bytes of searches left out, being clear; without the block "
        "scanned_bytes would be the sum of both",
    )  # fmt: skip
    errors: list[str] = Field(default_factory=list, description="its errors, in order")


class Transition(Part):
    """A change of state or reason; the same members as the EVE fallback event."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    at: str | None = Field(default=None, description="time, as EVE writes it")
    at_ns: int | None = Field(default=None, description="time, ns since the epoch")
    at_packet: int | None = Field(default=None, description="holds from this frame on (1-based)")
    from_: str = Field(default="", alias="from", description="state before")
    to: str = Field(default="", description="state after")
    reason: str = Field(default="", description="one of the eight reasons")
    severity: str = ""
    cause: str = ""
    resolution: str = Field(default="", description="what the operator should do")
    outcome: str = Field(default="", description="entered, restored, refused, …")
    trigger: str = ""
    evidence: dict[str, Any] = Field(
        default_factory=dict, description="window, counters, threshold, rules behind it"
    )


class Fault(Part):
    """Something that went wrong while the run went on, or ended it."""

    kind: str = Field(
        description="class of the error, e.g. CaptureError; Interrupted when a signal ended the run"
    )
    message: str


class Summary(Part):
    """One run. `received` = `inspected` + `bypassed` + `blocked` + `lost`, always."""

    packets: int = Field(default=0, ge=0, description="frames read from the captures")
    bytes: int = Field(default=0, ge=0, description="their bytes on the wire")
    received: int = Field(default=0, ge=0, description="frames the ledger took in")
    inspected: int = Field(default=0, ge=0, description="inspected and forwarded")
    bypassed: int = Field(default=0, ge=0, description="forwarded without inspection")
    blocked: int = Field(default=0, ge=0, description="dropped on purpose")
    lost: int = Field(default=0, ge=0, description="dropped because the inspection queue was full")
    alerts: int = Field(default=0, ge=0, description="alerts raised")
    seconds: float = Field(
        default=0.0,
        ge=0,
        description="engine time; rule compilation not included. Of a modelled run: packets "
        "served / capacity",
    )
    rules_loaded: int = Field(default=0, ge=0)
    rules_refused: int = Field(default=0, ge=0)
    state: Literal["normal", "fallback"] = Field(
        default="normal", description="at the end of the run"
    )
    reason: str = Field(default="no error", description="why it is in that state")
    transitions: list[Transition] = Field(default_factory=list, description="in order")
    reasons: dict[str, int] = Field(
        default_factory=dict, description="ledger: packets by reason; sums to received"
    )
    verdicts: dict[str, int] = Field(
        default_factory=dict,
        description="packets by verdict: pass, drop, drop_flow, reject, bypass_flow, lost",
    )
    drops: Drops = Field(default_factory=lambda: Drops())
    top_rules: list[RuleCount] = Field(
        default_factory=list, description="rules that acted most, most first"
    )
    bypass_rules: list[BypassRuleCount] = Field(
        default_factory=list, description="inspection bypass rules, in file order"
    )
    offload: OffloadPart | None = Field(default=None, description="with `--offload` only")
    refused_keywords: dict[str, int] = Field(
        default_factory=dict, description="refused rules by the keyword that was not understood"
    )
    decode_events: dict[str, int] = Field(
        default_factory=dict, description="decode events by name, those that happened"
    )
    midstream_blocked: int = Field(
        default=0,
        ge=0,
        description="of the blocked: by stream.midstream-policy, as the TCP handshake was not in "
        "the capture",
    )
    flows: int = Field(default=0, ge=0, description="flows seen")
    capture_seconds: float = Field(
        default=0.0, ge=0, description="first to last packet, capture time"
    )
    modelled: bool = Field(
        default=False, description="the engine's capacity was modelled in virtual time"
    )
    events: dict[str, int] = Field(default_factory=dict, description="EVE lines by type")
    captures: list[str] = Field(default_factory=list, description="files read")
    errors: list[Fault] = Field(default_factory=list)

    @computed_field(description="packets per engine second; 0 when no time was measured")  # type: ignore[prop-decorator]
    @property
    def packets_per_second(self) -> float:
        return round(self.packets / self.seconds, 3) if self.seconds > 0 else 0.0

    @computed_field(description="bits per engine second")  # type: ignore[prop-decorator]
    @property
    def bits_per_second(self) -> float:
        return round(self.bytes * 8 / self.seconds, 3) if self.seconds > 0 else 0.0

    @model_validator(mode="after")
    def _balance(self) -> Summary:
        whole = self.inspected + self.bypassed + self.blocked + self.lost
        if self.received != whole:
            raise ValueError(f"received {self.received} ≠ {whole} accounted for")
        if self.reasons and sum(self.reasons.values()) != self.received:
            raise ValueError(f"received {self.received} ≠ {sum(self.reasons.values())} by reason")
        return self

    def to_json(self) -> str:
        """Indented JSON, keys in the order of the model, a newline at the end."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write to `path` ("-": standard output), at once or not at all.

        Raises OutputError; a summary that was there before is then still whole.
        """
        write_whole(path, self.to_json())


def _type_text(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type_text(s, definitions) for s in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f'"{v}"' for v in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type_text(schema['items'], definitions)}"
    inner = schema.get("additionalProperties")
    if isinstance(inner, dict):
        return f"object of {_type_text(inner, definitions)}"
    return str(schema.get("type", "any"))


def schema_markdown() -> str:
    """docs/summary.md: the members of the summary, from the model itself."""
    schema = Summary.model_json_schema(mode="serialization", by_alias=True)
    definitions = schema.pop("$defs", {})
    lines = [
        "# The summary",
        "",
        "Written by `nsdata replay --summary FILE.json`: one JSON object, members in this order.",
        "Generated from `nsdata/output/summary.py`; `Summary.model_json_schema()` gives the same",
        "as a JSON Schema.",
        "",
    ]
    for name, part in [("Summary", schema), *sorted(definitions.items())]:
        lines += [f"## {name}", ""]
        if text := part.get("description"):
            lines += [" ".join(text.split()), ""]
        lines += ["| member | type | meaning |", "| --- | --- | --- |"]
        lines += [
            f"| `{member}` | {_type_text(about, definitions)} | {about.get('description', '')} |"
            for member, about in part["properties"].items()
        ]
        lines += [""]
    return "\n".join(lines)
