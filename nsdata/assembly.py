"""Settings and rules made into an engine: what replay and the appliance both begin with."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nsdata.config.settings import Settings
from nsdata.config.values import ExceptionPolicy
from nsdata.errors import EngineError
from nsdata.fallback.deciders import Deciders, Hands
from nsdata.fallback.exposure import Exposure
from nsdata.fallback.guard import Guard
from nsdata.fallback.health import Health
from nsdata.fallback.protection import Protection
from nsdata.fallback.watch import Watch
from nsdata.output.events import rule_fragment
from nsdata.path.decode import set_tunnel_ports
from nsdata.path.engine import Engine
from nsdata.path.rulebase import OpKind, RuleBase
from nsdata.rules.compile import compile_rules
from nsdata.rules.ruleset import RuleSet

# Policy numbers of nsdata/path/packet.pxd by settings key; PolicyAction of inspector.pxd.
POLICY_KEYS = {
    1: "stream.midstream-policy",
    3: "stream.memcap-policy",
    4: "stream.reassembly.memcap-policy",
    6: "flow.memcap-policy",
    7: "defrag.memcap-policy",
}
POLICY_ACTIONS = {
    ExceptionPolicy.IGNORE: 0,
    ExceptionPolicy.DROP_PACKET: 1,
    ExceptionPolicy.DROP_FLOW: 2,
    ExceptionPolicy.PASS_PACKET: 3,
    ExceptionPolicy.PASS_FLOW: 4,
    ExceptionPolicy.BYPASS: 5,
    ExceptionPolicy.REJECT: 6,
}
# Names of the settings that the stream stage has another word for.
HOST_POLICIES = {"bsd-right": "last", "old-solaris": "solaris"}
FRAGMENT_PAGE = 2048  # bytes of defrag memory a fragment takes at least
MAX_PAYLOAD = 65536
FLOW_BYTES = 512  # memory a flow may take, for flow.memcap


@dataclass(frozen=True, slots=True)
class LoadedRules:
    """A rule set ready to run: the image, and what the output calls its rules."""

    ruleset: RuleSet
    base: RuleBase
    numbers: int
    fragments: Sequence[bytes]  # EVE, by index in the image
    sids: Sequence[int]  # by source rule
    on_checksums: bool = False  # some rule asks whether a checksum is right
    refused_keywords: Mapping[str, int] = field(default_factory=dict)  # most first
    flowbits: Sequence[str] = ()  # names by number in the image
    flowints: Sequence[str] = ()
    xbits: Sequence[str] = ()

    @classmethod
    def build(
        cls, ruleset: RuleSet, settings: Settings, before: LoadedRules | None = None
    ) -> LoadedRules:
        """Compile. Raises EngineError when the rules are more than an image can hold, or
        Hyperscan or PCRE2 refuse what was accepted.

        `before`: the rules these take over from (Engine.swap_rules), so that flowbits,
        flowints and xbits set by them go on to mean the same.
        """
        try:
            return cls._build(ruleset, settings, before)
        except ValueError as error:
            raise EngineError(f"the rules cannot be compiled: {error}") from error

    @classmethod
    def _build(
        cls, ruleset: RuleSet, settings: Settings, before: LoadedRules | None
    ) -> LoadedRules:
        image = compile_rules(ruleset.rules, before)
        metadata = settings.outputs.eve.metadata
        by_number = [
            rule_fragment(
                rule.gid, rule.sid, rule.rev, rule.msg, rule.category, rule.priority,
                rule.metadata if metadata else None,
            )
            for rule in ruleset.rules
        ]  # fmt: skip
        fragments = [by_number[number] for number in image.rules["number"]]
        return cls(
            ruleset,
            RuleBase(image),
            len(ruleset.rules),
            fragments,
            [rule.sid for rule in ruleset.rules],
            any(op.kind == OpKind.CHK_CSUM for rule in ruleset.rules for op in rule.checks),
            dict(ruleset.refused_by_keyword.most_common()),
            image.flowbits,
            image.flowints,
            image.xbits,
        )


def engine_arguments(settings: Settings, inline: bool, checksums: bool) -> dict[str, Any]:
    """Keyword arguments of Engine that follow from the settings; checksums: validate them."""
    stream = settings.stream
    ns = 1_000_000_000
    inline_stream = inline if stream.inline == "auto" else stream.inline == "yes"
    timeouts = settings.flow_timeouts
    classes = {
        name: {
            "new": group.new / ns,
            "established": group.established / ns,
        }
        for name, group in (
            ("udp", timeouts.udp), ("icmp", timeouts.icmp), ("default", timeouts.default),
        )
    }  # fmt: skip
    classes["tcp"] = {
        "new": timeouts.tcp.new / ns,
        "established": timeouts.tcp.established / ns,
        "closed": timeouts.tcp.closed / ns,
    }
    classes["bypassed"] = {"any": timeouts.default.bypassed / ns}
    eve = settings.outputs.eve
    return {
        "inline": inline,
        "alert_max": settings.packet_alert_max,
        "drop_log_start": settings.drop_log.flows == "start",
        "policies": {
            number: POLICY_ACTIONS[settings.policy(key, inline)]
            for number, key in POLICY_KEYS.items()
        },
        "hosts": [
            (net.network_address.packed, net.prefixlen, HOST_POLICIES.get(str(name), str(name)))
            for name, networks in settings.host_os_policy.items()
            for net in map(lambda text: ipaddress.ip_network(text, strict=False), networks)
        ],
        "flow": {
            "max_flows": max(64, min(settings.flow.memcap // FLOW_BYTES, 1 << 24)),
            "timeouts": classes,
            "use_vlan": settings.vlan.use_for_tracking,
        },
        "stream": {
            "inline": inline_stream,
            "toserver_chunk": stream.reassembly.toserver_chunk_size,
            "toclient_chunk": stream.reassembly.toclient_chunk_size,
            "depth": stream.reassembly.depth,
            "memcap": stream.memcap + stream.reassembly.memcap,
            "midstream": stream.midstream,
            "async_oneside": stream.async_oneside,
            "ignore_bad_checksum": stream.checksum_validation and checksums,
        },
        "defrag": {
            "max_trackers": settings.defrag.max_trackers,
            "memcap": min(settings.defrag.memcap, settings.defrag.max_frags * FRAGMENT_PAGE),
            "timeout_s": settings.defrag.timeout / ns,
        },
        "records": {
            "keep_payload": eve.payload,
            "keep_packet": eve.packet,
            "max_payload": min(eve.payload_buffer_size, MAX_PAYLOAD),
        },
    }


def _ports(settings: Settings, enabled: bool, text: str) -> Sequence[int]:
    return (settings.port_list(text) or ()) if enabled else ()


def build_engine(
    rules: LoadedRules,
    settings: Settings,
    *,
    inline: bool = False,
    checksums: bool = True,
    capacity_pps: float = 0,
    queue: int = 4096,
    bypass: npt.NDArray[np.void] | None = None,
    seed: int = 0,
) -> Engine:
    """The engine for these rules and settings. Arguments as in nsdata.replay.

    The UDP ports of tunnels are set for the whole process.
    """
    decoder = settings.decoder
    set_tunnel_ports(
        vxlan=_ports(settings, decoder.vxlan.enabled, decoder.vxlan.ports),
        geneve=_ports(settings, decoder.geneve.enabled, decoder.geneve.ports),
        teredo=_ports(settings, decoder.teredo.enabled, decoder.teredo.ports),
    )
    return Engine(
        rules.base,
        rules.numbers,
        # rules on checksums need them computed, whatever streams make of wrong ones
        checksums=checksums or rules.on_checksums,
        capacity_pps=capacity_pps,
        queue=queue,
        bypass=bypass,
        seed=seed,
        **engine_arguments(settings, inline, checksums),
    )


def build_deciders(settings: Settings, hands: Hands, exposure: Exposure | None = None) -> Deciders:
    """What decides over an appliance with these settings; exposure: over its segments, without it
    over those that the settings name."""
    meter = settings.drop_meter.build()
    return Deciders(
        hands, Guard.build(meter), Watch(settings.watch.build()), settings.restore.build(meter),
        Health(settings.health.policy()), Protection(settings.protection.build()),
        exposure or settings.exposure.build(),
    )  # fmt: skip
