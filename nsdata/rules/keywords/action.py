"""Keywords on what a match leads to: thresholds, bypass, tag."""

from __future__ import annotations

from nsdata.path.rulebase import RuleFlag, ThresholdKind, Track
from nsdata.rules.builder import Builder
from nsdata.rules.ir import Refused, ThresholdIR
from nsdata.rules.numbers import integer
from nsdata.rules.registry import Value, keyword

FAMILY = "action"
U32 = (1 << 32) - 1
_TRACK = {
    "by_src": Track.TRACK_SRC,
    "by_dst": Track.TRACK_DST,
    "by_both": Track.TRACK_BOTH,
    "by_rule": Track.TRACK_RULE,
    "by_flow": Track.TRACK_FLOW,
}
_TYPES = {
    "limit": ThresholdKind.THRESHOLD_LIMIT,
    "threshold": ThresholdKind.THRESHOLD_THRESHOLD,
    "both": ThresholdKind.THRESHOLD_BOTH,
    "backoff": ThresholdKind.THRESHOLD_BACKOFF,
}


def _fields(value: str, legal: tuple[str, ...]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in value.split(","):
        words = part.split()
        if len(words) != 2 or words[0] not in legal:
            raise Refused(f"{part.strip()[:40]!r}: write {', '.join(legal)}, each with its value")
        if words[0] in fields:
            raise Refused(f"{words[0]} is given twice")
        fields[words[0]] = words[1]
    return fields


def _track(text: str) -> Track:
    if text not in _TRACK:
        raise Refused(f"track {text[:40]!r} is none of {', '.join(_TRACK)}")
    return _TRACK[text]


def _need(fields: dict[str, str], names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in fields]
    if missing:
        raise Refused(f"{missing[0]} is missing")


@keyword("threshold", family=FAMILY)
def threshold(b: Builder, value: str) -> None:
    """`type limit|threshold|both, track by_src|by_dst|by_both|by_rule|by_flow, count N,
    seconds N`, or `type backoff, track by_flow, count N, multiplier N`."""
    b.once("threshold", "threshold or detection_filter")
    fields = _fields(value, ("type", "track", "count", "seconds", "multiplier"))
    _need(fields, ("type", "track", "count"))
    if fields["type"] not in _TYPES:
        raise Refused(f"type {fields['type'][:40]!r} is none of {', '.join(_TYPES)}")
    kind = _TYPES[fields["type"]]
    track = _track(fields["track"])
    count = integer(fields["count"], 1, U32, "count")
    seconds = multiplier = 0
    if kind == ThresholdKind.THRESHOLD_BACKOFF:
        if "seconds" in fields:
            raise Refused("backoff counts packets of a flow and takes no seconds")
        if track != Track.TRACK_FLOW:
            raise Refused("backoff needs track by_flow")
        _need(fields, ("multiplier",))
        multiplier = integer(fields["multiplier"], 1, U32, "multiplier")
    else:
        if "multiplier" in fields:
            raise Refused("multiplier is for type backoff")
        _need(fields, ("seconds",))
        seconds = integer(fields["seconds"], 0, U32, "seconds")
    b.rule.threshold = ThresholdIR(kind, track, count, seconds, multiplier)


@keyword("detection_filter", family=FAMILY)
def detection_filter(b: Builder, value: str) -> None:
    """`track by_src|by_dst|by_both|by_rule|by_flow, count N, seconds N`: matches only once
    the rate is exceeded."""
    b.once("threshold", "threshold or detection_filter")
    fields = _fields(value, ("track", "count", "seconds"))
    _need(fields, ("track", "count", "seconds"))
    track = _track(fields["track"])
    count = integer(fields["count"], 1, U32, "count")
    seconds = integer(fields["seconds"], 1, U32, "seconds")
    kind = ThresholdKind.THRESHOLD_DETECTION_FILTER
    b.rule.threshold = ThresholdIR(kind, track, count, seconds)


@keyword("bypass", family=FAMILY, value=Value.NONE)
def bypass(b: Builder, value: str) -> None:
    """After a match the rest of the flow is not inspected."""
    b.rule.flags |= RuleFlag.RF_BYPASS


@keyword("tag", family=FAMILY)
def tag(b: Builder, value: str) -> None:
    """`session|host[,count,packets|bytes|seconds[,src|dst]]`. Accepted and not acted on:
    tagged packets are not logged."""
    parts = [part.strip() for part in value.split(",")]
    if parts[0] not in ("session", "host"):
        raise Refused("write session or host first")
    if len(parts) in (1,) and parts[0] == "session":
        pass
    elif len(parts) < 3 or parts[2] not in ("packets", "bytes", "seconds"):
        raise Refused("write tag:session,count,packets|bytes|seconds")
    else:
        integer(parts[1], 1, U32, "the count")
    if parts[0] == "host" and (len(parts) != 4 or parts[3] not in ("src", "dst")):
        raise Refused("tag:host needs src or dst at its end")
    if parts[0] == "session" and len(parts) > 3:
        raise Refused("tag:session takes no direction")
    b.rule.notes.append("tag is accepted and not acted on")
