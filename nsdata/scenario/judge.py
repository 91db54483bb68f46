"""Whether what was expected came about: one verdict for each expectation, with what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nsdata.fallback.controller import Outcome
from nsdata.fallback.ledger import Fate, LedgerSnapshot, Why
from nsdata.fallback.reasons import Reason, Severity, State
from nsdata.scenario.expect import COMPARISON, OF_ENTRY, OF_STATE, Expect, Told
from nsdata.scenario.record import Done, Record, Sample
from nsdata.scenario.scenario import Scenario

LEDGER = "ledger balanced"  # expected of every run
SHOWN = 8  # entries in what was found


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one expectation. `number` is that of the file, -1 what is always expected. `skipped`: why
    it could not be judged; `at_ns`: where it failed, for the drawing."""

    number: int
    title: str
    expected: str
    ok: bool
    found: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    skipped: str = ""
    at_ns: int | None = None


class _Missed(Exception):
    """It does not hold: what was found, and evidence."""

    def __init__(
        self, found: str, evidence: Mapping[str, Any] | None = None, at_ns: int | None = None
    ) -> None:
        super().__init__(found)
        self.found, self.evidence, self.at_ns = found, evidence or {}, at_ns


class _Skipped(Exception):
    """It cannot be judged: why."""


class Held(NamedTuple):
    """A state with its reason, from a time and a packet on."""

    at_ns: int
    packet: int
    state: str
    reason: str
    severity: str
    evidence: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.state} ({self.reason}, {self.severity})"


class Span(NamedTuple):
    """From when to when an expectation looks."""

    start_ns: int
    done_ns: int  # what it counts from was done
    end_ns: int
    packet: int  # that had come at the start
    packets: int | None  # at most so many more


def judge(scenario: Scenario, record: Record) -> list[Verdict]:
    """All verdicts, in the order of the file; first that the ledger balanced."""
    kind = "real" if record.real else "virtual"
    found = [_ledger(record)]
    for number, expect in enumerate(scenario.file.expect):
        if expect.only is not None and expect.only != kind:
            why = f"only of {expect.only} runs"
            found.append(Verdict(number, expect.title, expect.what, True, skipped=why))
            continue
        try:
            seen = _judged(expect, record)
        except _Missed as missed:
            found.append(
                Verdict(number, expect.title, expect.what, False, missed.found, missed.evidence,
                        at_ns=missed.at_ns)
            )  # fmt: skip
        except _Skipped as skipped:
            found.append(Verdict(number, expect.title, expect.what, True, skipped=str(skipped)))
        else:
            found.append(Verdict(number, expect.title, expect.what, True, seen))
    return found


def _ledger(record: Record) -> Verdict:
    wrong = list(record.faults)
    received = record.ledger.received.packets
    if record.offered is not None and received != record.offered:
        wrong.append(f"{record.offered:,} packets were offered, {received:,} are in the ledger")
    expected = "received = inspected + bypassed + blocked + lost, at every look"
    return Verdict(
        -1, LEDGER, expected, not wrong, "; ".join(wrong) or record.ledger.figures(),
        record.ledger.as_dict() if wrong else {}, at_ns=record.end_ns if wrong else None,
    )  # fmt: skip


def states(record: Record) -> list[Held]:
    """The states it was in, in order, from the start on."""
    none = Reason.NO_ERROR
    found = [Held(record.start_ns, 0, State.NORMAL, none, Severity.INFO, {})]
    for entry in record.entries:
        if entry["outcome"] in (Outcome.REFUSED, Outcome.REASON_ADDED):
            continue
        found.append(
            Held(entry["at_ns"], entry["at_packet"], entry["to"], entry["reason"],
                 entry["severity"], entry["evidence"])
        )  # fmt: skip
    return found


def _span(expect: Expect, record: Record) -> Span:
    start, settled, packet = record.start_ns, 0, 0
    if expect.after is not None:
        done = _done(expect.after, record)
        start, settled, packet = done.at_ns, done.done_ns, done.packet
    elif expect.at is not None:
        start = record.start_ns + expect.at
        packet = record.sample(start).came
    elif expect.at_packet is not None:
        if expect.at_packet not in record.packet_ns:
            raise _Missed(f"only {record.samples[-1].came:,} packets came")
        start, packet = record.packet_ns[expect.at_packet], expect.at_packet
    end = record.end_ns
    length = expect.within or expect.lasts
    if length is not None:
        end = start + length
        if end > record.end_ns:
            raise _Missed(
                f"the run ended {record.seconds(record.end_ns) - record.seconds(start):.3f} s "
                "after that: too early to tell", at_ns=record.end_ns,
            )  # fmt: skip
    return Span(start, max(start, settled), end, packet, expect.within_packets)


def _done(name: str, record: Record) -> Done:
    for done in record.done:
        if done.name == name:
            return done
    raise _Missed(f"{name} was never carried out: the run ended before")


def _judged(expect: Expect, record: Record) -> str:
    """What was found. Raises _Missed or _Skipped."""
    span = _span(expect, record)
    found = []
    given = expect.given
    if any(key in given for key in OF_ENTRY):
        found.append(_entry(expect, record, span))
    elif any(key in given for key in OF_STATE):
        found.append(_state(expect, record, span))
    if expect.event is not None:
        found.append(_event(expect, record, span))
    found += _figures(expect, record, span)
    return "; ".join(found)


# --- states and entries ---------------------------------------------------------------------


def _fits(expect: Expect, held: Held) -> bool:
    return all(
        wanted is None or getattr(held, key) == wanted
        for key, wanted in ((key, getattr(expect, key)) for key in OF_STATE)
    )


def _state(expect: Expect, record: Record, span: Span) -> str:
    every = states(record)
    soon = expect.within is not None or expect.within_packets is not None
    start = span.start_ns if soon else span.done_ns
    before = [one for one in every if one.at_ns <= start][-1]
    later = [one for one in every if start < one.at_ns <= span.end_ns]
    if expect.lasts is not None:
        for held in (before, *later):
            if not _fits(expect, held):
                when = max(held.at_ns, start)
                raise _Missed(_at(record, when, held), held.evidence, when)
        return f"{before} throughout"
    if not soon:
        # at once; without anything to count from: at the end
        held = before if expect.counts_from else every[-1]
        if not _fits(expect, held):
            when = start if expect.counts_from else record.end_ns
            raise _Missed(_at(record, when, held), held.evidence, when)
        return str(held)
    near = [before, *(one for one in later if _soon(one, span))]
    for held in near:
        if _fits(expect, held):
            return _after(record, held, span)
    late = next((one for one in every if one.at_ns > span.start_ns and _fits(expect, one)), None)
    if late is not None:
        raise _Missed(f"too late: {_after(record, late, span)}", late.evidence, span.end_ns)
    last = near[-1]
    raise _Missed(_at(record, span.end_ns, last), last.evidence, span.end_ns)


def _soon(held: Held, span: Span) -> bool:
    return span.packets is None or held.packet - 1 - span.packet <= span.packets


def _at(record: Record, ns: int, held: Held) -> str:
    return f"{held} at {record.seconds(ns):.3f} s"


def _after(record: Record, held: Held, span: Span) -> str:
    ms = max(held.at_ns - span.start_ns, 0) / 1e6
    packets = max(held.packet - 1 - span.packet, 0)
    return f"{held} after {ms:,.1f} ms, {packets:,} packets"


def _entry(expect: Expect, record: Record, span: Span) -> str:
    """An entry on the record between, with all that is said of it."""
    seen, late = [], None
    for entry in record.entries:
        if entry["at_ns"] < span.start_ns:
            continue
        held = Held(
            entry["at_ns"], entry["at_packet"], entry["to"], entry["reason"], entry["severity"],
            entry["evidence"],
        )  # fmt: skip
        why = _entry_fits(expect, entry, held)
        in_time = entry["at_ns"] <= span.end_ns and _soon(held, span)
        if not why and in_time:
            return f"{entry['outcome']}: {_after(record, held, span)}"
        if not why:
            late = late or held
        elif in_time:
            seen.append((f"{entry['outcome']} {held}: {why}", entry))
    if late is not None:
        raise _Missed(f"too late: {_after(record, late, span)}", late.evidence, span.end_ns)
    if not seen:
        raise _Missed("no entry on the record", at_ns=span.end_ns)
    shown = " | ".join(text for text, _ in seen[:SHOWN])
    raise _Missed(shown, seen[-1][1]["evidence"], seen[-1][1]["at_ns"])


def _entry_fits(expect: Expect, entry: Mapping[str, Any], held: Held) -> str:
    """Why it is another one, or nothing."""
    if expect.outcome is not None and entry["outcome"] != expect.outcome:
        return f"not {expect.outcome.value}"
    if expect.outcome is None and entry["outcome"] == Outcome.REFUSED:
        return "refused"
    if not _fits(expect, held):
        return "another state, reason or severity"
    also = entry["evidence"].get("also_holding", [])
    missing = [one.value for one in expect.also_holding if one.value not in also]
    if missing:
        return f"also holding {', '.join(also) or 'nothing'}, not {', '.join(missing)}"
    for key, wanted in expect.evidence.items():
        there, value = dotted(entry["evidence"], key)
        if not there:
            return f"evidence has no {key}"
        if not told_fits(value, wanted):
            return f"{key} is {value!r:.200}"
    return ""


def dotted(tree: Any, key: str) -> tuple[bool, Any]:
    """(whether it is there, the value) of a dotted key; a number is an index."""
    for part in key.split("."):
        if isinstance(tree, Mapping) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list) and part.isdecimal() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return False, None
    return True, tree


def told_fits(value: Any, wanted: Told) -> bool:
    """Whether evidence is what was expected: equal, `"*"`, or a comparison such as `">= 0.9"`."""
    if wanted == "*":
        return True
    if isinstance(wanted, str) and (compared := COMPARISON.fullmatch(wanted.strip())):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        sign, number = compared[1], float(compared[2])
        return {
            ">": value > number, ">=": value >= number, "<": value < number,
            "<=": value <= number, "!=": value != number,
        }[sign]  # fmt: skip
    if isinstance(wanted, bool) or isinstance(value, bool):
        return value is wanted
    return bool(value == wanted)


# --- events and figures ---------------------------------------------------------------------


def _event(expect: Expect, record: Record, span: Span) -> str:
    seen = [
        one for one in record.events
        if one.kind == expect.event and span.start_ns <= one.at_ns <= span.end_ns
        and (expect.subject is None or one.subject == expect.subject)
    ]  # fmt: skip
    if span.packets is not None:
        if record.real:
            raise _Skipped("how many packets had come when it happened is not known of a real run")
        most = span.packet + span.packets
        seen = [one for one in seen if one.packet is not None and one.packet <= most]
    wrong = len(seen) != expect.times if expect.times is not None else not seen
    if wrong:
        kinds = sorted({one.kind for one in record.events if span.start_ns <= one.at_ns})
        text = f"{expect.event} {len(seen)} times; there are events: {', '.join(kinds) or 'none'}"
        raise _Missed(text, seen[-1].evidence if seen else {}, span.end_ns)
    return f"{expect.event} {len(seen)} times"


def _figures(expect: Expect, record: Record, span: Span) -> Iterator[str]:
    first, last = record.sample(span.start_ns), record.sample(span.end_ns)
    if not expect.counts_from:
        first = Sample(record.start_ns, 0, LedgerSnapshot.empty(), {})
    if expect.lasts is None:
        last = record.samples[-1]
    gone = last.ledger.difference(first.ledger)
    yield from _alerts(expect, record, first, last, span)
    for key, sign in (("packets", "="), ("packets_at_least", ">="), ("packets_at_most", "<=")):
        for name, wanted in getattr(expect, key).items():
            seen = counted(gone, name)
            if not told_fits(seen, wanted if sign == "=" else f"{sign} {wanted}"):
                raise _Missed(f"{name}: {seen:,} packets", gone.as_dict(), span.end_ns)
            yield f"{name}: {seen:,} packets"
    if expect.permitted_at_least is not None:
        received = gone.received.packets
        went_on = gone.inspected.packets + gone.bypassed.packets
        share = went_on / received if received else 1.0
        text = f"{share:.6f} permitted ({went_on:,} of {received:,})"
        if share < expect.permitted_at_least:
            raise _Missed(text, gone.as_dict(), span.end_ns)
        yield text
    if expect.transitions is not None:
        seen = sum(
            one["from"] != one["to"] and span.start_ns <= one["at_ns"] <= span.end_ns
            for one in record.entries
        )
        if seen != expect.transitions:
            path = " → ".join(str(one) for one in states(record)[:SHOWN])
            raise _Missed(f"{seen} changes of state: {path}", at_ns=span.end_ns)
        yield f"{seen} changes of state"
    if expect.lines_lost is not None:
        if record.real:
            raise _Skipped("a real appliance does not say how many lines were lost")
        text = f"{record.lines_lost:,} EVE lines lost of {record.lines + record.lines_lost:,}"
        if record.lines_lost != expect.lines_lost:
            raise _Missed(text, at_ns=record.end_ns)
        yield text


def _alerts(
    expect: Expect, record: Record, first: Sample, last: Sample, span: Span
) -> Iterator[str]:
    for wanted_by, least in ((expect.alerts, False), (expect.alerts_at_least, True)):
        for sid, wanted in wanted_by.items():
            if record.real and expect.counts_from:
                raise _Skipped("alerts of a part of a real run cannot be told from the others")
            number = int(sid)
            seen = last.alerts.get(number, 0) - first.alerts.get(number, 0)
            if seen < wanted or (not least and seen != wanted):
                by_sid = {str(one): last.alerts[one] for one in sorted(last.alerts)}
                raise _Missed(f"sid {sid}: {seen:,} alerts", {"alerts": by_sid}, span.end_ns)
            yield f"sid {sid}: {seen:,} alerts"


def counted(ledger: LedgerSnapshot, name: str) -> int:
    """Packets of a fate or a reason by its name in the ledger; a name of both is the fate's."""
    if name == "received":
        return ledger.received.packets
    fates = {fate.token: fate for fate in Fate}
    if name in fates:
        return ledger.fate(fates[name]).packets
    return ledger.why(next(why for why in Why if why.token == name)).packets
