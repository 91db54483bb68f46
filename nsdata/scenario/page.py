"""The report of a scenario: one HTML page that needs nothing else, without script.

The timeline is drawn: states with their reasons, actions, transitions and failed expectations in
lanes, below them the rates and the drop ratio against its threshold, all on one axis of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.output.charts import WIDTH, Axes, Series, line, stacked
from nsdata.output.console import percent
from nsdata.output.html import Child, Node, document, table, tag
from nsdata.output.report_page import STYLE, flat_evidence, key, ledger_table
from nsdata.output.timeline import COLUMNS, FATES
from nsdata.scenario.judge import Held, Verdict, states
from nsdata.scenario.record import Record
from nsdata.scenario.run import Result

LANE = 26
MOST_MARKS = 300
MOST_EVIDENCE = 200
MORE_STYLE = """
.action{fill:var(--bypassed)}.entry{fill:var(--ink)}.miss{fill:var(--lost)}
.normal{fill:var(--inspected)}.fallback{fill:var(--lost)}.warning{fill:var(--blocked)}
.lead{stroke:var(--soft);stroke-width:.5;stroke-dasharray:2 3}
th{overflow-wrap:normal}td.n,td.ok,td.no{white-space:nowrap}
tr.bad td{background:#fbeae8}td.ok{color:var(--inspected)}td.no{color:var(--lost);font-weight:600}
pre{white-space:pre-wrap;font-size:13px}
"""


def page(results: Sequence[Result]) -> str:
    """The page of one scenario, or of several, one below the other."""
    title = results[0].scenario.title if len(results) == 1 else f"{len(results)} scenarios"
    body: list[Node] = []
    if len(results) > 1:
        body.append(tag("h1", f"nsdata scenario: {title}"))
        rows = [
            (
                tag("a", one.scenario.title, href=f"#s{number}"),
                "holds" if one.ok else "FAILED",
                f"{sum(v.ok for v in one.verdicts)} of {len(one.verdicts)}",
            )
            for number, one in enumerate(results)
        ]
        body.append(table(("scenario", "", "expectations that hold"), rows, id="scenarios"))
    for number, one in enumerate(results):
        body.append(tag("section", *_section(one), id=f"s{number}"))
    return document(f"nsdata scenario: {title}", STYLE + MORE_STYLE, *body)


def _section(result: Result) -> Iterator[Node]:
    scenario, record = result.scenario, result.record
    yield tag("h1", scenario.title)
    kind = "on real processes" if record.real else "in virtual time"
    words = f"{scenario.path}: {record.seconds(record.end_ns):g} s {kind}, "
    words += f"{record.ledger.received.packets:,} packets"
    yield tag("p", words, class_="soft")
    failed = [one for one in result.verdicts if not one.ok]
    text = f"{len(failed)} of {len(result.verdicts)} expectations failed" if failed else "all hold"
    yield tag("p", tag("span", text, class_="chip bad" if failed else "chip"))
    if scenario.sets:
        yield tag("p", f"under {', '.join(scenario.sets)}")
    if scenario.file.story:
        yield tag("p", scenario.file.story, style="white-space:pre-line")
    axes = Axes(record.timeline)
    yield tag("h2", "Timeline")
    yield lanes(axes, result)
    yield tag(
        "p", key("normal", "inspecting"), key("fallback", "fallback"),
        key("warning", "fallback, by hand or unknown"), key("action", "action"),
        key("entry", "transition or refusal"), key("miss", "failed expectation"),
    )  # fmt: skip
    yield from _rates(axes, result)
    yield from _expectations(result)
    yield from _transitions(record)
    yield from _actions(result)
    yield from _events(record)
    yield from ledger_table(record.ledger)


# --- the drawing ----------------------------------------------------------------------------


def band_style(held: Held) -> str:
    """The colour of a state."""
    if held.state == "normal":
        return "normal"
    return "fallback" if held.severity == "Critical" else "warning"


def state_lane(axes: Axes, record: Record, top: float, node: Node) -> None:
    """The states with their reasons, one behind the other, into a drawing."""
    found = states(record)
    ends = [one.at_ns for one in found[1:]] + [record.end_ns]
    for held, end in zip(found, ends, strict=True):
        left, right = axes.at(held.at_ns), axes.at(end)
        seconds = f"{record.seconds(held.at_ns):.3f} s to {record.seconds(end):.3f} s"
        node.append(
            tag("rect", tag("title", f"{held}: {seconds}"), x=f"{left:.1f}", y=top,
                width=f"{max(right - left, 1):.1f}", height=20, class_=band_style(held))
        )  # fmt: skip
        text = held.reason if held.state == "fallback" else "inspecting"
        if held.state == "fallback" and held.reason == "no error":
            text = "by hand"
        if right - left > 7 * len(text):
            x = f"{(left + right) / 2:.1f}"
            node.append(tag("text", text, x=x, y=top + 14, class_="mid on"))


def lanes(axes: Axes, result: Result) -> Node:
    """States; marks of actions, of entries on the record, of failed expectations."""
    record = result.record
    height = 4 * LANE + 22
    label = "states, actions, transitions and failed expectations over time"
    node = tag("svg", viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=label)
    axes.ticks(node, height)
    state_lane(axes, record, 2, node)
    for number, done in enumerate(record.done[:MOST_MARKS], 1):
        title = f"{record.seconds(done.at_ns):.3f} s, packet {done.packet:,}: {done.what}"
        _mark(axes, node, 1, done.at_ns, title, "action", str(number))
    for number, entry in enumerate(record.entries[:MOST_MARKS], 1):
        title = f"{record.seconds(entry['at_ns']):.3f} s: {entry['from']} → {entry['to']}, "
        title += f"{entry['outcome']}, {entry['reason']}"
        _mark(axes, node, 2, entry["at_ns"], title, "entry", str(number))
    for verdict in result.verdicts:
        if not verdict.ok:
            at = record.end_ns if verdict.at_ns is None else verdict.at_ns
            title = f"{verdict.title}: {verdict.found}"
            _mark(axes, node, 3, at, title, "miss", str(verdict.number + 1) or "")
    return node


def _mark(axes: Axes, node: Node, lane: int, ns: int, title: str, style: str, text: str) -> None:
    x, y = axes.at(ns), lane * LANE + 8
    lead = f"{x:.1f}"
    node.append(tag("line", x1=lead, x2=lead, y1=22, y2=y, class_="lead"))
    shape = {
        "action": f"M{x:.1f} {y - 6:.1f}l6 11h-12Z",
        "entry": f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6Z",
        "miss": f"M{x - 6:.1f} {y - 6:.1f}h12v12h-12Z",
    }[style]
    node.append(tag("path", tag("title", title), d=shape, class_=style))
    node.append(tag("text", text, x=f"{x + 8:.1f}", y=f"{y + 5:.1f}"))


def _rates(axes: Axes, result: Result) -> Iterator[Node]:
    timeline = result.record.timeline
    counts, seconds = timeline.counts, timeline.interval_ns / 1e9
    by_name = dict(zip(COLUMNS, counts.T, strict=True))
    when = [axes.when(i) for i in range(axes.n)]
    said = [
        ", ".join(f"{name} {int(n):,}" for name, n in zip(FATES, row, strict=False) if n)
        for row in counts
    ]
    yield tag("h2", "Packets offered, by what became of them")
    yield stacked(
        axes, "packets per second by fate",
        [Series(name, name, by_name[name] / seconds) for name in FATES],
        [f"{at}: {text}" if text else "" for at, text in zip(when, said, strict=True)],
    )  # fmt: skip
    ledger = result.record.ledger
    yield tag("p", *(key(name, f"{name} {_packets(ledger, name):,}") for name in FATES),
              tag("span", "packets/s", class_="soft"))  # fmt: skip
    threshold = result.scenario.settings.drop_meter.threshold
    yield tag("h2", "Drop ratio")
    yield line(
        axes, "drop ratio against its threshold", Series("ratio", "ratio", timeline.ratio),
        threshold,
        [
            "" if np.isnan(value) else f"{when[i]}: {percent(float(value))}"
            for i, value in enumerate(timeline.ratio)
        ],
    )  # fmt: skip
    window = result.scenario.settings.drop_meter.window / 1e9
    words = f"(blocked + lost) / received in {window:g} s; dashed: the threshold, "
    yield tag("p", words + percent(threshold), class_="soft")


def _packets(ledger: LedgerSnapshot, fate: str) -> int:
    return int(getattr(ledger, fate).packets)


# --- tables ---------------------------------------------------------------------------------


def _outcome(verdict: Verdict) -> Child:
    if verdict.skipped:
        return "left out"
    return "holds" if verdict.ok else "FAILED"


def _expectations(result: Result) -> Iterator[Node]:
    yield tag("h2", "Expectations")
    rows = [
        (str(one.number + 1) if one.number >= 0 else "",
         one.title if one.title != one.expected else "",
         _outcome(one), one.expected, one.skipped or one.found)
        for one in result.verdicts
    ]  # fmt: skip
    made = table(("", "", "", "expected", "found"), rows, id="expectations")
    body = made.find("tbody")
    assert body is not None
    for row, verdict in zip(body, result.verdicts, strict=True):
        if not verdict.ok:
            row.set("class", "bad")
        row[2].set("class", "ok" if verdict.ok else "no")
    yield made


def _transitions(record: Record) -> Iterator[Node]:
    yield tag("h2", "Transitions")
    if not record.entries:
        yield tag("p", "None: it inspected from the first packet to the last.")
    for number, entry in enumerate(record.entries[:MOST_MARKS], 1):
        title = f"{number}. {record.seconds(entry['at_ns']):.3f} s, packet {entry['at_packet']:,}: "
        title += f"{entry['from']} → {entry['to']}, {entry['outcome']} "
        mark = tag(
            "span", entry["reason"], class_="chip bad" if entry["to"] == "fallback" else "chip"
        )
        rows: list[Sequence[Child]] = [
            ("severity", entry["severity"]), ("cause", entry["cause"]),
            ("what to do", entry["resolution"]), ("trigger", entry["trigger"]),
            *list(flat_evidence(entry["evidence"], record.start_ns))[:MOST_EVIDENCE],
        ]  # fmt: skip
        yield tag("details", tag("summary", title, mark), table(("", ""), rows))


def _actions(result: Result) -> Iterator[Node]:
    yield tag("h2", "Actions")
    rows = [
        (number, f"{result.record.seconds(one.at_ns):.3f} s", f"{one.packet:,}", one.name or "",
         one.what)
        for number, one in enumerate(result.record.done, 1)
    ]  # fmt: skip
    yield table(("", "at", "packet", "name", ""), rows, numbers=(2,), id="actions")


def _events(record: Record) -> Iterator[Node]:
    rows = [
        (f"{record.seconds(one.at_ns):.3f} s", one.kind, one.subject)
        for one in record.events[:MOST_MARKS]
    ]
    words = f"{len(record.events)} events that changed no state"
    yield tag("details", tag("summary", words), table(("at", "event", "of"), rows, id="events"))
