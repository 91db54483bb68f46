"""Every setting of the engine, typed and validated, under its dotted name.

    Settings.load(config="nsdata.toml", sets=["stream.midstream=true"], environ=os.environ)

Names and meanings follow Suricata's where it has the setting. Later wins: defaults, then
the TOML file, then NSDATA_SET (`key=value` pairs separated by `;`), then `--set`.

Sizes are bytes with an optional unit (`64mb`, `1gb`, `8KiB`; a unit is a power of 1024),
durations are seconds or carry a unit (`5s`, `100ms`, `2m`) and become nanoseconds.
A key or value that makes no sense raises SettingError naming both and what is legal.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from nsdata.bypass_table import BypassTable
from nsdata.config import appliance
from nsdata.config.group import Group as _Group
from nsdata.config.group import of as _of
from nsdata.config.health import HealthSettings
from nsdata.config.keys import Tree
from nsdata.config.offload import OffloadSettings
from nsdata.config.values import (
    ACTION_ORDER,
    HOST_OS_POLICY,
    Action,
    DropLogFlows,
    DurationNs,
    EveType,
    ExceptionPolicy,
    GroupText,
    InlineMode,
    OsPolicy,
    Size,
    TextList,
    listed,
    ports_of,
)
from nsdata.errors import SettingError
from nsdata.fallback.bypass_rules import parse_bypass_rules
from nsdata.fallback.drop_meter import DropMeter
from nsdata.rules.variables import DEFAULT_ADDRESSES, DEFAULT_PORTS
from nsdata.toml_text import KeyPath, place_of, read_toml

FOLLOWS = "; unset: as exception-policy"


class Reassembly(_Group):
    """TCP data put in order."""

    memcap: Size = _of("256mb", "memory for segments waiting to be put in order")
    memcap_policy: ExceptionPolicy | None = _of(None, "policy when that is used up" + FOLLOWS)
    depth: Size = _of("1mb", "bytes of each direction that are inspected; 0 is no limit")
    toserver_chunk_size: Size = _of(2560, "bytes collected to server before inspection")
    toclient_chunk_size: Size = _of(2560, "bytes collected to client before inspection")

    @field_validator("toserver_chunk_size", "toclient_chunk_size")
    @classmethod
    def _some(cls, value: int) -> int:
        if not 1 <= value <= 1 << 20:
            raise ValueError("a size of 1 to 1mb is legal")
        return value


class Stream(_Group):
    """TCP sessions."""

    memcap: Size = _of("64mb", "memory for TCP sessions")
    memcap_policy: ExceptionPolicy | None = _of(None, "policy when that is used up" + FOLLOWS)
    midstream: bool = _of(False, "follow TCP sessions whose handshake was not seen")
    midstream_policy: ExceptionPolicy | None = _of(
        None, "policy for a session without handshake (whole flows only)" + FOLLOWS
    )
    async_oneside: bool = _of(False, "follow sessions of which only one direction is seen")
    inline: InlineMode = _of(
        "auto", "inspect data as it passes, not when acknowledged; auto: as --inline"
    )
    checksum_validation: bool = _of(True, "refuse packets with a wrong checksum")
    reassembly: Reassembly = Field(default_factory=Reassembly)

    @field_validator("inline", mode="before")
    @classmethod
    def _inline(cls, value: Any) -> Any:
        text = str(value).lower()
        return {"true": "yes", "on": "yes", "1": "yes", "false": "no", "off": "no", "0": "no"}.get(
            text, text
        )

    @model_validator(mode="after")
    def _midstream(self) -> Self:
        policy = self.midstream_policy
        if policy in (ExceptionPolicy.DROP_PACKET, ExceptionPolicy.PASS_PACKET):
            raise ValueError(
                f"midstream-policy {policy} is for single packets; legal: drop-flow, pass-flow, "
                "bypass, reject, ignore, auto"
            )
        legal = (None, ExceptionPolicy.AUTO, ExceptionPolicy.IGNORE, ExceptionPolicy.PASS_FLOW)
        if self.midstream and policy not in legal:
            raise ValueError(
                f"midstream-policy {policy} contradicts stream.midstream = true; legal with it: "
                "pass-flow, ignore, auto"
            )
        return self


class Defrag(_Group):
    """IP fragments put together."""

    memcap: Size = _of("32mb", "memory for fragments")
    memcap_policy: ExceptionPolicy | None = _of(None, "policy when that is used up" + FOLLOWS)
    max_trackers: int = _of(65535, "datagrams put together at once", ge=1, le=1 << 24)
    max_frags: int = _of(65535, "fragments kept at once", ge=1, le=1 << 24)
    timeout: DurationNs = _of("60s", "how long an incomplete datagram is kept")


class Flow(_Group):
    """The flow table."""

    memcap: Size = _of("128mb", "memory for the flow table")
    memcap_policy: ExceptionPolicy | None = _of(None, "policy when the table is full" + FOLLOWS)


class Timeouts(_Group):
    """How long a flow is kept without packets."""

    new: DurationNs = _of("30s", "seen in one direction")
    established: DurationNs = _of("300s", "seen in both directions")
    closed: DurationNs = _of("0s", "closed")
    bypassed: DurationNs = _of("100s", "bypassed")


class TcpTimeouts(Timeouts):
    """The same for TCP."""

    new: DurationNs = _of("60s", "handshake not complete")
    established: DurationNs = _of("600s", "handshake complete")
    closed: DurationNs = _of("60s", "closed by FIN or RST")


class FlowTimeouts(_Group):
    """Time-outs by protocol; `default` is for all others."""

    default: Timeouts = Field(default_factory=Timeouts)
    tcp: TcpTimeouts = Field(default_factory=TcpTimeouts)
    udp: Timeouts = Field(default_factory=Timeouts)
    icmp: Timeouts = Field(default_factory=Timeouts)


class Vxlan(_Group):
    """VXLAN (RFC 7348)."""

    enabled: bool = _of(True, "decode VXLAN and inspect what it carries")
    ports: GroupText = _of("$VXLAN_PORTS", "its UDP ports")


class Geneve(_Group):
    """Geneve (RFC 8926)."""

    enabled: bool = _of(True, "decode Geneve and inspect what it carries")
    ports: GroupText = _of("$GENEVE_PORTS", "its UDP ports")


class Teredo(_Group):
    """Teredo (RFC 4380)."""

    enabled: bool = _of(True, "decode Teredo and inspect what it carries")
    ports: GroupText = _of("$TEREDO_PORTS", "its UDP ports; any is legal")


class Decoder(_Group):
    """Tunnels decoded by port."""

    vxlan: Vxlan = Field(default_factory=Vxlan)
    geneve: Geneve = Field(default_factory=Geneve)
    teredo: Teredo = Field(default_factory=Teredo)


class AppLayer(_Group):
    """Application-layer parsers (none yet: no parser, so nothing that could err)."""

    error_policy: ExceptionPolicy | None = _of(
        None, "policy when a parser errs; acts once there are parsers" + FOLLOWS
    )


class Vlan(_Group):
    """VLAN tags."""

    use_for_tracking: bool = _of(True, "frames of different VLANs are of different flows")


class Vars(_Group):
    """Variables of the rule language."""

    address_groups: Mapping[str, GroupText] = _of(DEFAULT_ADDRESSES, "addresses of $NAME in rules")
    port_groups: Mapping[str, GroupText] = _of(DEFAULT_PORTS, "ports of $NAME in rules")

    @field_validator("address_groups", mode="before")
    @classmethod
    def _addresses(cls, value: Any) -> Any:
        return {**DEFAULT_ADDRESSES, **value} if isinstance(value, Mapping) else value

    @field_validator("port_groups", mode="before")
    @classmethod
    def _port_groups(cls, value: Any) -> Any:
        return {**DEFAULT_PORTS, **value} if isinstance(value, Mapping) else value

    @field_validator("address_groups", "port_groups")
    @classmethod
    def _named(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, text in value.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is not a name for a variable: letters, digits, _")
            if not text.strip():
                raise ValueError(f"{name} is empty; any is legal")
        return value


class DropLog(_Group):
    """Drop events."""

    flows: DropLogFlows = _of("all", "log every dropped packet, or the first of each flow")


class Eve(_Group):
    """EVE JSON."""

    types: Annotated[tuple[EveType, ...], BeforeValidator(listed)] = _of(
        tuple(EveType), "event types written"
    )
    payload: bool = _of(True, "payload in alerts, base64 and as text with dots")
    payload_buffer_size: Size = _of("4kb", "payload bytes written, at most 64kb")
    packet: bool = _of(True, "the whole packet in alerts, base64")
    metadata: bool = _of(True, "the rule's metadata in alerts")


class Outputs(_Group):
    """What is written."""

    eve: Eve = Field(default_factory=Eve)


class DropMeterSettings(_Group):
    """The drop meter."""

    window: DurationNs = _of("5s", "over which the drop ratio is taken")
    interval: DurationNs = _of("1s", "between two evaluations; divides the window")
    threshold: float = _of(0.90, "share of drops above which the engine falls back", gt=0, lt=1)
    minimum_packets: int = _of(200, "packets in the window without which none is judged", ge=1)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        try:
            self.build()
        except SettingError as fault:
            raise ValueError(str(fault)) from None
        return self

    def build(self) -> DropMeter:
        return DropMeter(self.window, self.interval, self.threshold, self.minimum_packets)


DEFAULT_PACKET_ALERT_MAX = 15


class Settings(_Group):
    """All settings, validated; every field has a default."""

    stream: Stream = Field(default_factory=Stream)
    exception_policy: ExceptionPolicy = _of(
        "auto", "policy where none is given; auto: drop-flow inline, else ignore"
    )
    packet_alert_max: int = _of(15, "alerts per packet at most; 0 is the default", ge=0, le=255)
    action_order: Annotated[tuple[Action, ...], BeforeValidator(listed)] = _of(
        ACTION_ORDER, "which action goes first; places not given are filled"
    )
    host_os_policy: Mapping[OsPolicy, TextList] = _of(
        HOST_OS_POLICY, "networks of hosts with that policy; the longest prefix wins"
    )
    drop_log: DropLog = Field(default_factory=DropLog)
    defrag: Defrag = Field(default_factory=Defrag)
    flow: Flow = Field(default_factory=Flow)
    flow_timeouts: FlowTimeouts = Field(default_factory=FlowTimeouts)
    decoder: Decoder = Field(default_factory=Decoder)
    app_layer: AppLayer = Field(default_factory=AppLayer)
    vlan: Vlan = Field(default_factory=Vlan)
    vars: Vars = Field(default_factory=Vars)
    drop_meter: DropMeterSettings = Field(default_factory=DropMeterSettings)
    health: HealthSettings = Field(default_factory=HealthSettings)
    offload: OffloadSettings = Field(default_factory=OffloadSettings)
    outputs: Outputs = Field(default_factory=Outputs)
    watch: appliance.WatchSettings = Field(default_factory=appliance.WatchSettings)
    restore: appliance.RestoreSettings = Field(default_factory=appliance.RestoreSettings)
    exposure: appliance.ExposureSettings = Field(default_factory=appliance.ExposureSettings)
    protection: appliance.ProtectionSettings = Field(default_factory=appliance.ProtectionSettings)

    @field_validator("packet_alert_max")
    @classmethod
    def _zero(cls, value: int) -> int:
        return value or DEFAULT_PACKET_ALERT_MAX

    @field_validator("action_order", mode="before")
    @classmethod
    def _fill(cls, value: Any) -> Any:
        """`action-order.N` for some N: the actions not named take the places left."""
        if not isinstance(value, Mapping):
            return value
        if any(place > 3 for place in value):
            raise ValueError("places 0 to 3 are legal")
        named = {str(action).lower() for action in value.values()}
        left = [action for action in ACTION_ORDER if action not in named]
        return [value[n] if n in value else left.pop(0) if left else "" for n in range(4)]

    @field_validator("action_order")
    @classmethod
    def _each_once(cls, value: tuple[Action, ...]) -> tuple[Action, ...]:
        if sorted(value) != sorted(Action):
            raise ValueError("each of pass, drop, reject, alert once is legal")
        return value

    @field_validator("host_os_policy", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> Any:
        return {**HOST_OS_POLICY, **value} if isinstance(value, Mapping) else value

    @field_validator("host_os_policy")
    @classmethod
    def _networks(cls, value: Mapping[OsPolicy, Sequence[str]]) -> Mapping[OsPolicy, Any]:
        for networks in value.values():
            for text in networks:
                ipaddress.ip_network(text, strict=False)
        return value

    @classmethod
    def load(
        cls,
        config: str | PathLike[str] | None = None,
        sets: Iterable[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Settings from a TOML file, NSDATA_SET in `environ`, and `key=value` texts."""
        given: dict[str, Any] = {}
        places: dict[str, str] = {}
        if config is not None:
            text = _read(config, "configuration")
            data, lines = read_toml(text, str(config))
            if "rule" in data:
                place = place_of(lines, str(config), ("rule", 0))
                raise SettingError(
                    f"{place}: [[rule]] is of inspection bypass rules, not of settings; give such "
                    "a file with --bypass-rules"
                )
            _put(data, lambda path: place_of(lines, str(config), path), given, places)
        pairs = [("--set", pair) for pair in sets]
        if environ is not None and environ.get("NSDATA_SET"):
            from_env = [("NSDATA_SET", p) for p in environ["NSDATA_SET"].split(";") if p.strip()]
            pairs = from_env + pairs
        for origin, pair in pairs:
            key, equals, text = pair.partition("=")
            if not equals:
                raise SettingError(
                    f"{origin} {pair}: write key=value, such as stream.midstream=true"
                )
            places[TREE.put(given, key.strip(), text.strip(), origin)] = origin
        return _validated(given, places)

    @classmethod
    def from_mapping(
        cls, values: Mapping[str, Any], place: Callable[[KeyPath], str] = lambda path: ""
    ) -> Settings:
        """Settings from dotted names or nested mappings; `place` tells where a key stands."""
        given: dict[str, Any] = {}
        places: dict[str, str] = {}
        _put(values, place, given, places)
        return _validated(given, places)

    def port_list(self, text: str) -> tuple[int, ...] | None:
        """Ports of a decoder setting, `$NAME` looked up; None means any port."""
        return ports_of(text, self.vars.port_groups, 0)

    def tunnel_ports(self) -> tuple[int, ...]:
        """UDP ports that are decoded as tunnels; those that may be any are not among them."""
        decoder = self.decoder
        return tuple(
            port
            for one in (decoder.vxlan, decoder.geneve, decoder.teredo)
            if one.enabled
            for port in self.port_list(one.ports) or ()
        )

    def policy(self, key: str, inline: bool) -> ExceptionPolicy:
        """What the exception policy `key` (e.g. `stream.midstream-policy`) comes to.

        Never AUTO. Unset, it is `exception-policy`; that acts inline only. Auto is
        drop-flow inline, and ignore otherwise or for picked-up midstream sessions. Where a
        packet has no flow (defrag, flow) the policies for flows become those for packets.
        """
        own = _POLICIES.get(key)
        if own is None:
            raise SettingError(f"no exception policy {key}; legal: {', '.join(_POLICIES)}")
        group, with_flow = own
        of: Any = self
        for part in group:
            of = getattr(of, part)
        chosen: ExceptionPolicy | None = of
        if chosen is None:
            chosen = self.exception_policy if inline else ExceptionPolicy.IGNORE
        midstream = key == "stream.midstream-policy"
        if chosen is ExceptionPolicy.AUTO:
            ignored = not inline or (midstream and self.stream.midstream)
            chosen = ExceptionPolicy.IGNORE if ignored else ExceptionPolicy.DROP_FLOW
        if midstream:
            return _FLOW_POLICY.get(chosen, chosen)
        return chosen if with_flow else _PACKET_POLICY.get(chosen, chosen)


TREE = Tree(
    Settings,
    {"flow.timeouts.": "flow-timeouts.", "defrag.trackers": "defrag.max-trackers"},
)
"""Every key of Settings, and other names that lead to one."""

_POLICIES: dict[str, tuple[tuple[str, ...], bool]] = {
    "stream.midstream-policy": (("stream", "midstream_policy"), True),
    "stream.memcap-policy": (("stream", "memcap_policy"), True),
    "stream.reassembly.memcap-policy": (("stream", "reassembly", "memcap_policy"), True),
    "defrag.memcap-policy": (("defrag", "memcap_policy"), False),
    "flow.memcap-policy": (("flow", "memcap_policy"), False),
}
_PACKET_POLICY = {
    ExceptionPolicy.DROP_FLOW: ExceptionPolicy.DROP_PACKET,
    ExceptionPolicy.PASS_FLOW: ExceptionPolicy.PASS_PACKET,
    ExceptionPolicy.BYPASS: ExceptionPolicy.IGNORE,
}
_FLOW_POLICY = {
    ExceptionPolicy.DROP_PACKET: ExceptionPolicy.DROP_FLOW,
    ExceptionPolicy.PASS_PACKET: ExceptionPolicy.PASS_FLOW,
}


def load_bypass_rules(path: str | PathLike[str]) -> BypassTable:
    """Inspection bypass rules from a TOML file; SettingError names file, line and key."""
    text = _read(path, "bypass rules")
    try:
        return BypassTable(parse_bypass_rules(text, str(path)).rules)
    except SettingError as fault:
        data, _ = read_toml(text, str(path))
        if "rule" not in data and any(TREE.find(key) or TREE.is_group(key) for key in data):
            raise SettingError(f"{fault}. These are settings: give them with --config") from None
        raise


def settings_table() -> str:
    """All settings as a Markdown table (docs/operations.md holds it)."""
    return TREE.markdown_table()


def settings_rows(settings: Settings) -> Iterator[tuple[str, str, bool]]:
    """Every setting: dotted name, value as written, whether it is not the default."""
    return TREE.rows(settings, Settings())


def _read(path: str | PathLike[str], what: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as fault:
        raise SettingError(f"{path}: {what} cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError as fault:
        raise SettingError(f"{path}: not UTF-8 text at byte {fault.start}") from None


def _put(
    values: Mapping[str, Any], place: Callable[[KeyPath], str], given: dict[str, Any],
    places: dict[str, str],
) -> None:  # fmt: skip
    for key, value, path in TREE.flatten(values):
        places[TREE.put(given, key, value, place(path))] = place(path)


def _validated(given: Mapping[str, Any], places: Mapping[str, str]) -> Settings:
    try:
        return Settings.model_validate(given)
    except ValidationError as fault:
        raise TREE.explain(fault, places) from None
