"""The report of a replay: one HTML page that needs nothing else (docs/operations.md, The report).

Nothing in it is measured by the wall clock, so that two replays alike give the same bytes; and
no bytes of frames are in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nsdata.fallback.ledger import Count, Fate, LedgerSnapshot, Why
from nsdata.output.charts import Axes, Series, bands, line, spans, stacked
from nsdata.output.console import percent
from nsdata.output.eve import format_time
from nsdata.output.html import Child, Node, document, table, tag
from nsdata.output.summary import OffloadPart, Summary, Transition
from nsdata.output.timeline import COLUMNS, FATES, SAID, Band, Timeline

FIRST, LAST = 100, 20  # transitions shown, when there are more
MOST_ROWS = 400  # of a record's table
REGISTERS = ".registers."
FRAME_BYTES = "bytes"  # evidence that holds what was said on the wire
ORDER = ("clear", "bypass", "suspect", "block", "fault")  # from the bottom of the chart
MEANING = {
    "clear": "not searched",
    "bypass": "its flow is shunted: not inspected",
    "suspect": "inspected in full",
    "block": "dropped in hardware",
    "fault": "permitted, the block having a fault",
}
STYLE = """
:root{--ink:#1b1f24;--soft:#5b6570;--rule:#d8dde3;--ground:#fff;
--inspected:#2f7d4f;--bypassed:#3b82c4;--blocked:#d9822b;--lost:#b3261e;
--clear:#2f7d4f;--bypass:#3b82c4;--suspect:#e0b13a;--block:#7a4fa3;--fault:#b3261e}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--ground);
max-width:980px;margin:24px auto;padding:0 16px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:32px 0 6px}
h3{font-size:15px;margin:16px 0 4px}
p{margin:4px 0}.soft{color:var(--soft)}
.chip{display:inline-block;padding:1px 10px;border-radius:10px;color:#fff;
background:var(--inspected)}
.chip.fallback,.chip.bad{background:var(--lost)}
.warn{border-left:4px solid var(--lost);padding:2px 10px;margin:6px 0;white-space:pre-line}
table{border-collapse:collapse;margin:6px 0;font-size:13.5px}
th,td{text-align:left;padding:2px 14px 2px 0;border-bottom:1px solid var(--rule);
vertical-align:top;overflow-wrap:anywhere;white-space:pre-line}
th{color:var(--soft);font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}
details{margin:8px 0}summary{cursor:pointer}
.key{display:inline-block;margin-right:16px;font-size:13px}
.key svg{width:11px;height:11px;display:inline-block;vertical-align:-1px;margin-right:5px}
svg{width:100%;height:auto;display:block}
svg text{font:11px system-ui,sans-serif;fill:var(--soft)}
svg .mid{text-anchor:middle}svg .end{text-anchor:end}svg text.on{fill:#fff}
.grid{stroke:var(--rule);stroke-width:.6}.shade{fill:var(--lost);opacity:.09}
.limit{stroke:var(--lost);stroke-width:1.4;stroke-dasharray:6 4}
.t{fill:transparent}.t:hover{fill:var(--ink);fill-opacity:.09}
.inspected{fill:var(--inspected)}.bypassed{fill:var(--bypassed)}.blocked{fill:var(--blocked)}
.lost{fill:var(--lost)}.clear{fill:var(--clear)}.bypass{fill:var(--bypass)}
.suspect{fill:var(--suspect)}.block{fill:var(--block)}.fault{fill:var(--fault)}
.l{fill:none;stroke:var(--ink);stroke-width:1.6}circle.ratio{fill:var(--ink)}
.band-inspecting{fill:var(--inspected)}.band-restoring{fill:var(--bypassed)}
.band-software{fill:var(--blocked)}.band-fallback{fill:var(--lost)}
@media print{details{break-inside:avoid}}
"""

Row = Sequence[Child]


def report_page(
    summary: Summary,
    timeline: Timeline,
    ledger: LedgerSnapshot,
    settings: Iterable[tuple[str, str, bool]],
) -> str:
    """The page, as text. `settings`: name, value, whether it is not the default."""
    axes = Axes(timeline)
    captures = ", ".join(summary.captures)
    return document(
        f"nsdata: {captures}",
        STYLE,
        *_head(summary, timeline, captures),
        *(_charts(axes, summary) if timeline.start_ns is not None else ()),
        *_transitions(summary, timeline),
        *ledger_table(ledger),
        *(_offload(summary.offload) if summary.offload is not None else ()),
        *_rules(summary),
        *_settings(settings),
        *_intervals(axes),
    )


def _head(summary: Summary, timeline: Timeline, captures: str) -> Iterator[Node]:
    yield tag("h1", "Replay ", captures)
    began = format_time(timeline.start_ns) if timeline.start_ns is not None else "no packet"
    yield tag("p", f"{began}, {summary.capture_seconds:,.3f} s of capture time", class_="soft")
    state = tag("span", summary.state, class_=f"chip {summary.state}")
    yield tag("p", "State at the end: ", state, f" {summary.reason}")
    words = f"{summary.packets:,} packets, {summary.bytes:,} bytes; {summary.alerts:,} alerts from "
    words += f"{summary.rules_loaded:,} rules; {summary.flows:,} flows"
    yield tag("p", words)
    if summary.modelled:
        rate = f"{summary.packets_per_second:,.0f} packets/s"
        yield tag("p", f"Modelled engine: {rate}", class_="soft")
    if summary.rules_refused:
        yield tag("p", f"{summary.rules_refused:,} rules were refused", class_="warn")
    for fault in summary.errors:
        yield tag("p", f"{fault.kind}: {fault.message}", class_="warn")


# --- charts -----------------------------------------------------------------------------------


def key(style: str, text: str) -> Node:
    """A colour of a chart, and what it stands for."""
    square = tag("svg", tag("rect", width=10, height=10, class_=style), viewBox="0 0 10 10")
    return tag("span", square, text, class_="key")


def _charts(axes: Axes, summary: Summary) -> Iterator[Node]:
    timeline = axes.timeline
    counts, seconds = timeline.counts, timeline.interval_ns / 1e9
    by_name = dict(zip(COLUMNS, counts.T, strict=True))
    when = [axes.when(i) for i in range(axes.n)]

    yield tag("h2", "States")
    yield bands(axes)
    yield tag("p", *(key(f"band-{one.name.lower()}", one.value) for one in Band))
    if timeline.bands_left_out:
        words = f"{timeline.bands_left_out:,} later changes of state are not drawn"
        yield tag("p", words, class_="warn")

    yield tag("h2", "Packets by what became of them")
    yield stacked(
        axes, "packets per second by fate",
        [Series(name, name, by_name[name] / seconds) for name in FATES],
        [_said(when[i], FATES, counts[i]) for i in range(axes.n)],
    )  # fmt: skip
    yield tag("p", *(key(name, f"{name} {getattr(summary, name):,}") for name in FATES),
              tag("span", "packets/s", class_="soft"))  # fmt: skip

    if summary.offload is not None:
        total = np.sum([by_name[name] for name in SAID], axis=0)
        share = 1.0 / np.maximum(total, 1)
        yield tag("h2", "What the FPGA said of them")
        yield stacked(
            axes, "shares of the block's verdicts",
            [Series(name, name, by_name[name] * share) for name in ORDER],
            [_said(when[i], SAID, counts[i][len(FATES) + 1 :]) for i in range(axes.n)],
            top=1.0, unit="%",
        )  # fmt: skip
        said = summary.offload.verdicts
        yield tag("p", *(key(name, f"{name.upper()} {said.get(name, 0):,}") for name in ORDER))
        spared = percent(summary.offload.spared_share)
        yield tag("p", f"Hit rate (CLEAR and BYPASS, the work that is spared): {spared}")

    drops = summary.drops
    yield tag("h2", "Drop ratio")
    yield line(
        axes, "drop ratio against its threshold", Series("ratio", "ratio", timeline.ratio),
        drops.threshold,
        [
            "" if np.isnan(value) else f"{when[i]}: {percent(float(value))}"
            for i, value in enumerate(timeline.ratio)
        ],
    )  # fmt: skip
    at = drops.peak_seconds
    peak = "none" if at is None else f"{percent(drops.peak)} at {at:.3f} s"
    words = f"(blocked + lost) / received in {drops.window_seconds:g} s; dashed: the threshold, "
    words += f"{percent(drops.threshold)}; highest that was judged: {peak}"
    if drops.attribution and drops.attribution != "none":
        words += f"; what they come from: {drops.attribution}"
    yield tag("p", words, class_="soft")


def _said(when: str, names: Sequence[str], values: Any) -> str:
    parts = (f"{name} {int(n):,}" for name, n in zip(names, values, strict=False) if n)
    text = ", ".join(parts)
    return f"{when}: {text}" if text else ""


# --- transitions ------------------------------------------------------------------------------


def _transitions(summary: Summary, timeline: Timeline) -> Iterator[Node]:
    yield tag("h2", "Transitions")
    found = summary.transitions
    if not found:
        yield tag("p", "None: it inspected from the first packet to the last.")
    for number, one in enumerate(found):
        if len(found) > FIRST + LAST and number == FIRST:
            left = len(found) - FIRST - LAST
            yield tag("p", f"… {left:,} more, all in the EVE record …", class_="warn")
        if len(found) <= FIRST + LAST or number < FIRST or number >= len(found) - LAST:
            yield _transition(one, timeline.start_ns or 0)


def _transition(one: Transition, start_ns: int) -> Node:
    seconds = ((one.at_ns or 0) - start_ns) / 1e9
    title = f"{seconds:,.3f} s, packet {one.at_packet or 0:,}: "
    title += f"{one.from_} → {one.to}, {one.outcome}"
    facts = [
        ("time", one.at), ("reason", one.reason), ("severity", one.severity), ("cause", one.cause),
        ("what to do", one.resolution), ("trigger", one.trigger),
    ]  # fmt: skip
    rows: list[Row] = [(name, value or "") for name, value in facts]
    evidence = list(flat_evidence(one.evidence, start_ns))
    shown = evidence[:MOST_ROWS]
    registers = [row for row in shown if REGISTERS in row[0]]
    rows += [row for row in shown if REGISTERS not in row[0]]
    if len(evidence) > MOST_ROWS:
        rows.append(("…", f"{len(evidence) - MOST_ROWS:,} more in the EVE record"))
    mark = tag("span", one.reason, class_="chip bad" if one.to == "fallback" else "chip")
    made = tag("details", tag("summary", title + " ", mark), table(("", ""), rows), open="")
    if registers:
        dump = [(name.partition(REGISTERS)[2], value) for name, value in registers]
        dumped = table(("register", "value"), dump)
        made.append(tag("details", tag("summary", f"{len(dump)} registers"), dumped))
    return made


def flat_evidence(
    value: Mapping[str, Any], start_ns: int, before: str = ""
) -> Iterator[tuple[str, str]]:
    """Nested evidence as (dotted name, value); what a frame held is left out."""
    for key, inner in value.items():
        name = f"{before}{key}"
        if isinstance(inner, Mapping):
            yield from flat_evidence(inner, start_ns, f"{name}.")
        elif key == FRAME_BYTES and isinstance(inner, str):
            yield name, f"({len(inner) // 2} bytes of the frame: see the EVE event)"
        elif isinstance(inner, list | tuple) and any(isinstance(item, Mapping) for item in inner):
            for at, item in enumerate(inner):
                yield f"{name}.{at}", ", ".join(f"{k} {v}" for k, v in item.items())
        elif isinstance(inner, list | tuple):
            yield name, ", ".join(map(str, inner))
        elif isinstance(inner, int) and name.endswith("_ns"):
            yield name.removesuffix("_ns"), _time(inner, start_ns)
        else:
            yield name, "" if inner is None else str(inner)


def _time(ns: int, start_ns: int) -> str:
    """An instant as seconds of capture time, a length as it is. The meter's first windows begin
    before the first packet."""
    if start_ns and ns > start_ns // 2:
        return f"{(ns - start_ns) / 1e9:,.6f} s after the first packet"
    return f"{ns / 1e9:,.6f} s"


# --- tables -----------------------------------------------------------------------------------


def ledger_table(ledger: LedgerSnapshot) -> Iterator[Node]:
    """The ledger with its heading."""
    yield tag("h2", "Ledger")
    whole = ledger.received.packets

    def row(name: Child, about: str, count: Count) -> Row:
        share = percent(count.packets / whole) if whole else ""
        return name, about, f"{count.packets:,}", f"{count.bytes:,}", share

    rows = [row(tag("b", "received"), "came in", ledger.received)]
    for fate in Fate:
        rows.append(row(tag("b", fate.token), fate.text, ledger.fate(fate)))
        reasons = (why for why in Why if why.fate is fate and ledger.why(why).packets)
        rows += [row(f"· {why.token}", why.text, ledger.why(why)) for why in reasons]
    head = ("", "", "packets", "bytes", "share")
    yield table(head, rows, numbers=(2, 3, 4), id="ledger")
    yield tag("p", "received = inspected + bypassed + blocked + lost", class_="soft")


def _offload(part: OffloadPart) -> Iterator[Node]:
    yield tag("h2", "FPGA")
    total = sum(part.verdicts.values())
    rows: list[Row] = [
        (name.upper(), f"{n:,}", percent(n / total) if total else "", MEANING[name])
        for name in ORDER
        if (n := part.verdicts.get(name, 0)) or name in ("clear", "bypass", "suspect")
    ]
    yield table(("verdict", "frames", "share", ""), rows, numbers=(1, 2), id="fpga")
    facts: list[Row] = [
        ("reached by", part.transport),
        ("in use at the end", "yes" if part.active else "no"),
        ("rules its tables stand for", f"{part.rules_covered:,}"),
        ("frames judged twice", f"{part.checks:,}, {part.disagreements:,} of them differently"),
        ("flows given to its table", f"{part.flows_inserted:,}, {part.flows_refused:,} refused"),
        ("times brought back", f"{part.recoveries:,}"),
        (
            "bytes to search, of each search",
            f"{part.scanned_bytes + part.spared_bytes:,}, {part.spared_bytes:,} of them spared",
        ),
        ("errors it counted", ", ".join(f"{k} {n:,}" for k, n in part.block_errors.items())),
    ]
    yield table(("", ""), facts)
    for error in part.errors[:FIRST]:
        yield tag("p", error, class_="warn")


def _rules(summary: Summary) -> Iterator[Node]:
    if summary.top_rules:
        yield tag("h2", "Rules that acted most")
        rows: list[Row] = [
            (f"{one.gid}:{one.sid}", one.signature, f"{one.alerts:,}", f"{one.drops:,}")
            for one in summary.top_rules
        ]
        yield table(("rule", "", "alerts", "packets blocked"), rows, numbers=(2, 3))
    if summary.bypass_rules:
        yield tag("h2", "Inspection bypass rules")
        rows = [(one.id, one.name, one.action, f"{one.hits:,}") for one in summary.bypass_rules]
        yield table(("rule", "", "action", "packets"), rows, numbers=(3,))


def _settings(settings: Iterable[tuple[str, str, bool]]) -> Iterator[Node]:
    listed = list(settings)
    changed: list[Row] = [(name, value) for name, value, other in listed if other]
    yield tag("h2", "Settings")
    if changed:
        yield table(("not the default", ""), changed, id="changed")
    every: list[Row] = [(name, value) for name, value, _ in listed]
    yield tag("details", tag("summary", f"all {len(every)}"), table(("setting", "value"), every))


def _intervals(axes: Axes) -> Iterator[Node]:
    timeline = axes.timeline
    if timeline.start_ns is None:
        return
    yield tag("h2", "Figures behind the charts")
    rows: list[Row] = []
    for i, counts in enumerate(timeline.counts.tolist()):
        if any(counts) or not np.isnan(timeline.ratio[i]):
            ratio = timeline.ratio[i]
            last = "" if np.isnan(ratio) else percent(float(ratio))
            rows.append((axes.when(i), *(f"{n:,}" for n in counts), last))
    head = ("time", *COLUMNS, "drop ratio")
    made = table(head, rows, numbers=range(1, len(head)), id="intervals")
    words = f"{len(rows)} intervals of {timeline.interval_ns / 1e6:g} ms that are not empty"
    yield tag("details", tag("summary", words), made)
    since = timeline.start_ns
    states: list[Row] = [
        (band.value, f"{(start - since) / 1e9:.3f}", f"{(end - since) / 1e9:.3f}")
        for start, end, band in spans(timeline)
    ]
    made = table(("state", "from s", "to s"), states, numbers=(1, 2), id="states")
    yield tag("details", tag("summary", f"{len(states)} states"), made)
