"""EVE events that come once a second or less: stats, fallback, ledger; and the writer.

Built from plain mappings, so that nothing here needs to know who counts or decides.
JSON is compact, UTF-8, in the order given, and always parses: numbers that JSON has no
text for (NaN, infinity) become null, bytes become text with \\xNN for what is no UTF-8.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from nsdata.errors import SettingError
from nsdata.output.eve import EveFormatter, format_time
from nsdata.output.eve_file import EveFile

RECORD_TYPES = ("alert", "drop", "flow")
OTHER_TYPES = ("stats", "fallback", "ledger")
EVENT_TYPES = RECORD_TYPES + OTHER_TYPES


def plain(value: Any) -> Any:
    """`value` as something JSON has a text for."""
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, (Sequence, set, frozenset, np.ndarray)):
        items: Iterable[Any] = value
        if isinstance(value, (set, frozenset)):
            items = sorted(value, key=str)  # sets have no order of their own
        return [plain(v) for v in items]
    return str(value)


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON of anything `plain` can make sense of."""
    text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", "replace")  # lone surrogates have no UTF-8


def event_line(event_type: str, ts_ns: int, members: Mapping[str, Any]) -> bytes:
    """One line: timestamp, event_type, then `members` in their order."""
    head = {"timestamp": format_time(ts_ns), "event_type": event_type}
    return dumps({**head, **members}) + b"\n"


def rule_fragment(
    gid: int,
    sid: int,
    rev: int,
    msg: str,
    category: str,
    severity: int,
    metadata: Mapping[str, Sequence[str]] | None = None,
    references: Sequence[str] | None = None,
) -> bytes:
    """The part of "alert" that never changes for a rule, for EveFormatter.set_rules.

    metadata: values by key, as in the rule; references: URLs. Both are left out if empty.
    """
    alert: dict[str, Any] = {
        "gid": gid,
        "signature_id": sid,
        "rev": rev,
        "signature": msg,
        "category": category,
        "severity": severity,
    }
    if metadata:
        alert["metadata"] = metadata
    if references:
        alert["references"] = references
    return dumps(alert)[1:-1]


def pcap_tail(path: str | os.PathLike[str] | bytes | None) -> bytes:
    """`,"pcap_filename":"…"` for EveFormatter.set_tail; empty for None."""
    if path is None:
        return b""
    name = path if isinstance(path, bytes) else os.fsencode(path)
    return b',"pcap_filename":' + dumps(name)


DECODER_COUNTERS = (
    "pkts", "bytes", "invalid", "ipv4", "ipv6", "ethernet", "arp", "raw",
    "null", "sll", "sll2", "tcp", "udp", "sctp", "icmpv4", "icmpv6", "ppp", "chdlc",
    "geneve", "gre", "vlan", "vlan_qinq", "vxlan", "ipv4_in_ipv4", "ipv4_in_ipv6",
    "ipv6_in_ipv4", "ipv6_in_ipv6", "avg_pkt_size", "max_pkt_size", "erspan",
    "teredo",
)  # fmt: skip
DROP_REASONS = (
    "decode_error", "defrag_error", "defrag_memcap", "flow_memcap", "flow_drop",
    "stream_error", "stream_memcap", "stream_midstream", "stream_reassembly",
    "stream_urgent", "rules", "exception_policy_flow_drop", "bypass_rule",
    "over_subscription",
)  # fmt: skip


def stats_skeleton() -> dict[str, Any]:
    """Every counter of a stats event at zero, in the order they are written."""
    return {
        "uptime": 0,
        "decoder": {**dict.fromkeys(DECODER_COUNTERS, 0), "event": {}},
        "tcp": dict.fromkeys(
            ("sessions", "ssn_memcap_drop", "syn", "synack", "rst", "active_sessions",
             "midstream_pickups", "invalid_checksum", "stream_depth_reached",
             "reassembly_gap", "overlap", "segment_memcap_drop", "memuse"), 0
        ),
        "flow": {
            **dict.fromkeys(
                ("total", "active", "tcp", "udp", "icmpv4", "icmpv6", "tcp_reuse", "memcap",
                 "memuse"), 0
            ),
            "end": {"state": dict.fromkeys(("new", "established", "closed", "local_bypassed"), 0)},
        },
        "defrag": dict.fromkeys(
            ("ipv4.fragments", "ipv4.reassembled", "ipv6.fragments", "ipv6.reassembled",
             "max_trackers_reached"), 0
        ),
        "stream": {},
        "detect": {
            "engines": [
                {"id": 0, "rules_loaded": 0, "rules_failed": 0, "rules_skipped": 0}
            ],
            "alert": 0,
            "alert_queue_overflow": 0,
            "alerts_suppressed": 0,
        },
        "ips": {
            **dict.fromkeys(("accepted", "blocked", "rejected", "replaced"), 0),
            "drop_reason": dict.fromkeys(DROP_REASONS, 0),
        },
    }  # fmt: skip


def merge(into: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `values` over `into`. A key may be dotted ("ips.drop_reason.rules"); names of
    reasons may hold spaces and hyphens, which become underscores."""
    for key, value in values.items():
        name, _, rest = str(key).partition(".")
        name = name.replace(" ", "_").replace("-", "_")
        if rest:
            value = {rest: value}
        if isinstance(value, Mapping):
            below = into.get(name)
            into[name] = merge(below if isinstance(below, dict) else {}, value)
        else:
            into[name] = value
    return into


def stats_members(counters: Mapping[str, Any]) -> dict[str, Any]:
    """The "stats" object: the skeleton with `counters` laid over it.

    `detect.rules_loaded`, `rules_failed` and `rules_skipped` go to engine 0, where
    readers of EVE look for them.
    """
    nested = merge({}, stats_skeleton())
    merge(nested, counters)
    detect = nested["detect"]
    for name in ("rules_loaded", "rules_failed", "rules_skipped"):
        if name in detect:
            detect["engines"][0][name] = detect.pop(name)
    return {"stats": nested}


FALLBACK_KEYS = (
    "state", "from", "reason", "severity", "cause", "resolution", "outcome", "input", "trigger",
)  # fmt: skip


def members_of(thing: Any) -> dict[str, Any]:
    """A mapping, a dataclass or anything with `as_dict`, as a plain dict."""
    given = plain(thing.as_dict() if hasattr(thing, "as_dict") else thing)
    if not isinstance(given, dict):
        raise SettingError(f"an EVE event needs a mapping, not {type(thing).__name__}")
    return given


def fallback_members(transition: Any) -> dict[str, Any]:
    """pcap_cnt and the "fallback" object of a transition.

    `state` is the state entered (`to`), `pcap_cnt` the frame from which it holds
    (`at_packet`). The keys of FALLBACK_KEYS come first, then whatever else it has.
    """
    given = members_of(transition)
    given.pop("at_ns", None)
    for old, new in (("to", "state"), ("to_state", "state"), ("from_state", "from")):
        if old in given:
            given.setdefault(new, given.pop(old))
    frame = given.pop("at_packet", None)
    head = {} if frame is None else {"pcap_cnt": frame}
    first = {key: given.pop(key) for key in FALLBACK_KEYS if key in given}
    return {**head, "fallback": {**first, **given}}


class EveWriter:
    """EVE to a file (or to nobody: `path` None keeps lines for `take`).

    types: which events to write, of EVENT_TYPES. `formatter` is what the path's records
    go through; call `drain` after each batch. Raises SettingError for an unknown type and
    OutputError when the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        types: Collection[str] = EVENT_TYPES,
        *,
        payload: bool = False,
        packet: bool = False,
        ethernet: bool = True,
    ) -> None:
        for name in types:
            if name not in EVENT_TYPES:
                raise SettingError(
                    f"EVE type {name!r} is not known: choose among {', '.join(EVENT_TYPES)}"
                )
        self.types = frozenset(types)
        self.formatter = EveFormatter(
            [t for t in RECORD_TYPES if t in self.types],
            payload=payload,
            packet=packet,
            ethernet=ethernet,
        )
        self._file = None if path is None else EveFile(path)
        self._kept = bytearray()
        self._counts = dict.fromkeys(OTHER_TYPES, 0)

    @property
    def counts(self) -> dict[str, int]:
        """Lines so far, by event type."""
        return {**self.formatter.counts, **self._counts}

    def drain(self) -> None:
        """Move what the formatter holds to the file."""
        lines = self.formatter.take()
        if lines:
            self._put(lines)

    def event(self, event_type: str, ts_ns: int, members: Mapping[str, Any]) -> None:
        """One line of `event_type`, behind the records drained so far."""
        if event_type not in self.types:
            return
        self.drain()
        self._put(event_line(event_type, ts_ns, members))
        self._counts[event_type] = self._counts.get(event_type, 0) + 1

    def stats(self, ts_ns: int, counters: Mapping[str, Any]) -> None:
        """`counters`: nested or dotted names, laid over `stats_skeleton`."""
        self.event("stats", ts_ns, stats_members(counters))

    def fallback(self, ts_ns: int, transition: Any) -> None:
        """`transition`: see `fallback_members`."""
        self.event("fallback", ts_ns, fallback_members(transition))

    def ledger(self, ts_ns: int, ledger: Any) -> None:
        """`ledger`: received, inspected, bypassed, blocked, lost and reasons."""
        self.event("ledger", ts_ns, {"ledger": members_of(ledger)})

    def take(self) -> bytes:
        """What was written since the last take, when there is no file."""
        self.drain()
        lines = bytes(self._kept)
        self._kept.clear()
        return lines

    def flush(self) -> None:
        self.drain()
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        self.drain()
        if self._file is not None:
            self._file.close()

    def _put(self, lines: bytes) -> None:
        if self._file is not None:
            self._file.write(lines)
        else:
            self._kept += lines

    def __enter__(self) -> EveWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        # the run failed already: keep the lines there are, and let its error be heard
        try:
            self.close()
        except Exception as second:
            error.add_note(f"and closing the EVE output failed: {second}")
