"""What a run came to: the Summary and the counters of the EVE stats event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nsdata.assembly import LoadedRules
from nsdata.config.settings import Settings
from nsdata.errors import NsdataError
from nsdata.fallback.bypass_rules import BypassRules
from nsdata.fallback.ledger import Why
from nsdata.output.eve import format_time
from nsdata.output.summary import (
    BypassRuleCount,
    Drops,
    Fault,
    OffloadPart,
    RuleCount,
    Summary,
    Transition,
)
from nsdata.pipeline import Pipeline

TOP_RULES = 10
VERDICTS = ("pass", "drop", "drop_flow", "reject", "bypass_flow", "lost")
POLICY_NAMES = {
    "drop_packet": 1, "drop_flow": 2, "pass_packet": 3, "pass_flow": 4, "bypass": 5, "reject": 6,
}  # fmt: skip
MIDSTREAM = 1
POLICY_DROPS = {  # drop reasons by number of Policy (packet.pxd)
    "stream_midstream": 1, "stream_error": 2, "stream_memcap": 3, "stream_reassembly": 4,
    "flow_memcap": 6, "defrag_memcap": 7, "defrag_error": 8,
}  # fmt: skip
FRAME_COUNTERS = (
    "ethernet", "raw", "null", "sll", "sll2", "ppp", "chdlc", "arp", "vlan", "vlan_qinq",
    "ipv4_in_ipv4", "ipv4_in_ipv6", "ipv6_in_ipv4", "ipv6_in_ipv6", "max_pkt_size",
)  # fmt: skip


def summarise(
    pipeline: Pipeline,
    loaded: LoadedRules,
    settings: Settings,
    captures: Sequence[str],
    errors: Sequence[NsdataError],
    seconds: float,
    modelled: bool = False,
    bypass: BypassRules | None = None,
) -> Summary:
    """The summary of a finished run; `seconds` is the engine's time, measured or modelled."""
    ledger = pipeline.ledger()
    stats = pipeline.engine.stats()
    rules = loaded.ruleset
    first = pipeline.first_ns
    dropped = ledger.dropped.packets
    return Summary(
        packets=ledger.received.packets,
        bytes=ledger.received.bytes,
        received=ledger.received.packets,
        inspected=ledger.inspected.packets,
        bypassed=ledger.bypassed.packets,
        blocked=ledger.blocked.packets,
        midstream_blocked=_midstream_blocked(pipeline),
        lost=ledger.lost.packets,
        alerts=stats["detect"]["alerts"],
        seconds=seconds,
        modelled=modelled,
        rules_loaded=len(rules.rules),
        rules_refused=len(rules.refused),
        state=pipeline.guard.state.value,
        reason=pipeline.guard.controller.reason.value,
        transitions=[
            Transition.model_validate({"at": format_time(t.at_ns), **t.as_dict()})
            for t in pipeline.transitions
        ],
        reasons={why.token: ledger.why(why).packets for why in Why if ledger.why(why).packets},
        verdicts=dict(zip(VERDICTS, stats["verdicts"], strict=True)),
        drops=_drops(pipeline, settings, dropped, ledger.received.packets),
        top_rules=_top_rules(pipeline, loaded),
        bypass_rules=_bypass_rules(pipeline, bypass),
        refused_keywords=dict(loaded.refused_keywords),
        offload=_offload(pipeline),
        decode_events=dict(sorted(stats["decode"]["events"].items())),
        flows=stats["flow"]["created"],
        capture_seconds=round((pipeline.last_ns - first) / 1e9, 9) if first is not None else 0.0,
        events={name: n for name, n in pipeline.eve.counts.items() if n},
        captures=list(captures),
        errors=[Fault(kind=type(e).__name__, message=str(e)) for e in errors],
    )


def offload_stats(pipeline: Pipeline) -> dict[str, Any] | None:
    """Figures of the block and of what it spared; None when there is none."""
    if pipeline.offload is None:
        return None
    stats = pipeline.engine.stats()
    return {
        **pipeline.offload.stats(),
        "seams": stats["stream"]["seams"],
        "seam_hits": stats["stream"]["seam_hits"],
        "scanned_bytes": stats["detect"]["scanned_bytes"],
        "spared_bytes": stats["detect"]["spared_bytes"],
    }


def _offload(pipeline: Pipeline) -> OffloadPart | None:
    stats = offload_stats(pipeline)
    return None if stats is None else OffloadPart.model_validate(stats)


def _drops(pipeline: Pipeline, settings: Settings, dropped: int, received: int) -> Drops:
    meter = pipeline.guard.meter
    first = pipeline.first_ns or 0
    peak_at = meter.peak_at_ns
    return Drops(
        ratio=dropped / received if received else 0.0,
        peak=meter.peak_ratio,
        peak_at=format_time(peak_at) if peak_at is not None else None,
        peak_seconds=round((peak_at - first) / 1e9, 9) if peak_at is not None else None,
        threshold=settings.drop_meter.threshold,
        window_seconds=settings.drop_meter.window / 1e9,
        minimum_packets=settings.drop_meter.minimum_packets,
        attribution=next(
            (
                str(t.evidence["attribution"])
                for t in pipeline.transitions
                if t.evidence.get("attribution")
            ),
            None,
        ),
    )


def _top_rules(pipeline: Pipeline, loaded: LoadedRules) -> list[RuleCount]:
    counts = pipeline.engine.rule_counts()
    acted = [
        (int(counts["alerted"][n]), int(counts["dropped"][n]), rule)
        for n, rule in enumerate(loaded.ruleset.rules)
        if counts["alerted"][n] or counts["dropped"][n]
    ]
    acted.sort(key=lambda row: (-row[0] - row[1], row[2].sid))
    return [
        RuleCount(sid=rule.sid, gid=rule.gid, signature=rule.msg, alerts=alerts, drops=drops)
        for alerts, drops, rule in acted[:TOP_RULES]
    ]


def _midstream_blocked(pipeline: Pipeline) -> int:
    """Packets blocked by the midstream policy, those of the flows it dropped included."""
    stats = pipeline.engine.stats()
    return int(stats["policy_drops"][MIDSTREAM] + stats["policy_flow_drops"][MIDSTREAM])


def _bypass_rules(pipeline: Pipeline, bypass: BypassRules | None) -> list[BypassRuleCount]:
    if bypass is None:
        return []
    hits = pipeline.engine.bypass_counts()
    return [
        BypassRuleCount(id=rule.id, name=rule.name, action=rule.action.value, hits=count)
        for rule, count in zip(bypass.rules, hits, strict=True)
    ]


def eve_stats(pipeline: Pipeline, loaded: LoadedRules, settings: Settings) -> dict[str, Any]:
    """Counters for the EVE stats event, under the ecosystem's names."""
    stats = pipeline.engine.stats()
    ledger = pipeline.ledger()
    decode, stream, flow, detect = (stats[k] for k in ("decode", "stream", "flow", "detect"))
    versions, protocols = decode["versions"], decode["protocols"]
    events = decode["events"]
    verdicts = dict(zip(VERDICTS, stats["verdicts"], strict=True))
    blocked = ledger.blocked.packets
    midstream = stats["policies"][MIDSTREAM]
    frames, tunnels, defrag = decode["frames"], decode["tunnels"], stats["defrag"]
    first = pipeline.first_ns
    offload = offload_stats(pipeline)
    return {
        **({} if offload is None else {"offload": offload}),
        "uptime": (pipeline.last_ns - first) // 1_000_000_000 if first is not None else 0,
        "decoder": {
            "pkts": ledger.received.packets,
            "bytes": ledger.received.bytes,
            "invalid": decode["invalid"],
            "ipv4": versions.get(4, 0),
            "ipv6": versions.get(6, 0),
            **{name: frames[name] for name in FRAME_COUNTERS},
            "vxlan": tunnels.get(4, 0),
            "geneve": tunnels.get(5, 0),
            "erspan": tunnels.get(6, 0),
            "teredo": tunnels.get(7, 0),
            "avg_pkt_size": ledger.received.bytes // max(1, ledger.received.packets),
            "tcp": protocols.get(6, 0),
            "udp": protocols.get(17, 0),
            "sctp": protocols.get(132, 0),
            "icmpv4": protocols.get(1, 0),
            "icmpv6": protocols.get(58, 0),
            "gre": protocols.get(47, 0),
            "event": _nested({k: v for k, v in events.items() if not k.startswith("stream.")}),
        },
        "stream": {k[7:]: v for k, v in events.items() if k.startswith("stream.")},
        "tcp": {
            "sessions": stream["sessions"],
            "syn": frames["syn"],
            "synack": frames["synack"],
            "rst": frames["rst"],
            "ssn_memcap_drop": stream["ssn_memcap_drop"],
            "active_sessions": stream["active"],
            "midstream_pickups": stream["midstream_pickups"],
            "invalid_checksum": stream["invalid_checksum"],
            "stream_depth_reached": stream["stream_depth_reached"],
            "reassembly_gap": stream["reassembly_gap"],
            "overlap": stream["overlap"],
            "segment_memcap_drop": stream["segment_memcap_drop"],
            "memuse": stream["memuse"],
        },
        "flow": {
            "total": flow["created"],
            "active": flow["active"],
            "tcp": flow["tcp"],
            "udp": flow["udp"],
            "icmpv4": flow["icmp"] - flow["icmpv6"],
            "icmpv6": flow["icmpv6"],
            "tcp_reuse": flow["reused"],
            "memcap": flow["refused"],
            "memuse": flow["memory"],
            "end": {
                "state": {
                    "new": frames["flows_new"],
                    "established": frames["flows_established"],
                    "closed": frames["flows_closed"],
                    "local_bypassed": frames["flows_bypassed"],
                }
            },
        },
        "defrag": {
            "max_trackers_reached": defrag["dropped_trackers"],
            "ipv4": {
                "fragments": defrag["fragments_v4"],
                "reassembled": defrag["rebuilt_v4"],
            },
            "ipv6": {
                "fragments": defrag["fragments"] - defrag["fragments_v4"],
                "reassembled": defrag["rebuilt"] - defrag["rebuilt_v4"],
            },
        },
        "detect": {
            "alert": detect["alerts"],
            "alerts_suppressed": detect["alerts_suppressed"],
            "alert_queue_overflow": detect["alerts_discarded"] + detect["match_overflow"],
            "rules_loaded": len(loaded.ruleset.rules),
            "rules_failed": len(loaded.ruleset.refused),
            "rules_skipped": len(loaded.ruleset.skipped),
        },
        "ips": {
            "accepted": ledger.inspected.packets + ledger.bypassed.packets,
            "blocked": blocked,
            "rejected": verdicts["reject"],
            "drop_reason": {
                "rules": ledger.why(Why.RULE_DROP).packets + ledger.why(Why.RULE_REJECT).packets,
                "flow_drop": ledger.why(Why.FLOW_DROP).packets,
                **{name: stats["policy_drops"][number] for name, number in POLICY_DROPS.items()},
                "bypass_rule": ledger.why(Why.BYPASS_RULE_BLOCK).packets,
                "over_subscription": ledger.lost.packets,
            },
        },
        "exception_policy": {
            "tcp": {"midstream": {name: midstream[n] for name, n in POLICY_NAMES.items()}}
        },
    }


def _nested(events: dict[str, int]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, count in sorted(events.items()):
        family, _, rest = name.partition(".")
        result.setdefault(family, {})[rest] = count
    return result
