"""What a person sees: progress while a capture is replayed, and the closing tables.

Takes plain values; knows neither engine nor controller. On anything but a terminal the
progress display writes nothing at all, and the tables come without colour.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from nsdata.output.summary import (
    BypassRuleCount,
    Drops,
    OffloadPart,
    RuleCount,
    Summary,
    Transition,
)

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = ".:-=+*#%"
SPARK_WIDTH = 60


@dataclass(frozen=True, slots=True)
class DropPoint:
    """One reading of the drop meter for the graph: seconds since the first packet, the
    ratio (0-1), the state the engine was in, and whether the window held packets enough
    to be judged."""

    seconds: float
    ratio: float
    state: str = "normal"
    judged: bool = True


def count(number: float) -> str:
    """1234567 -> 1,234,567."""
    return f"{number:,.0f}"


def scaled(number: float, unit: str) -> str:
    """A rate with an SI prefix: 1.53 Mpkt/s."""
    for limit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}"


def safe(text: str) -> str:
    """Text from rules and captures without what could steer a terminal."""
    return "".join(c if c.isprintable() else "·" for c in text)


def percent(ratio: float) -> str:
    """0.9034 -> 90.3 %; never rounded up to 100 or down to 0 when it is neither."""
    text = f"{ratio * 100:.1f} %"
    if text == "100.0 %" and ratio < 1:
        return ">99.9 %"
    if text == "0.0 %" and ratio > 0:
        return "<0.1 %"
    return text


def duration(seconds: float) -> str:
    """A length of time in the unit a person would use."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"


def resample(points: Sequence[DropPoint], width: int) -> list[DropPoint]:
    """At most `width` points; each is the one with the highest ratio of its share, so
    that a short peak is never lost."""
    if len(points) <= width:
        return list(points)
    edges = [i * len(points) // width for i in range(width + 1)]
    return [max(points[a:b], key=lambda p: p.ratio) for a, b in pairwise(edges)]


def sparkline(points: Sequence[DropPoint], threshold: float, *, ascii_only: bool = False) -> Text:
    """The drop ratio over time: a block per reading, red where it was judged above the
    threshold, and yellow where the engine was in fallback."""
    blocks = ASCII_BLOCKS if ascii_only else BLOCKS
    text = Text()
    for point in resample(points, SPARK_WIDTH):
        ratio = min(max(point.ratio, 0.0), 1.0)
        level = min(int(ratio * len(blocks)), len(blocks) - 1)
        if point.ratio > threshold and point.judged:
            style = "bold red"
        elif point.state == "fallback":
            style = "yellow"
        else:
            style = "green"
        text.append(blocks[level], style)
    return text


def state_text(state: str) -> Text:
    """The state as it is shown: fallback loud and red."""
    if state == "normal":
        return Text("normal", "green")
    return Text(state.upper(), "bold red")


def evidence_words(evidence: Mapping[str, Any]) -> list[str]:
    """The evidence of a transition as sentences; what is not there is left out."""
    words: list[str] = []
    counters = evidence.get("counters")
    ratio, threshold = evidence.get("ratio"), evidence.get("threshold")
    if isinstance(counters, Mapping) and "received" in counters:
        window = evidence.get("window")
        span = ""
        if isinstance(window, Mapping) and window.get("length_ns"):
            span = f" in {duration(float(window['length_ns']) / 1e9)}"
        line = (
            f"{count(counters.get('dropped', 0))} of {count(counters['received'])} packets "
            f"dropped{span}: {count(counters.get('blocked', 0))} blocked by rules, "
            f"{count(counters.get('lost', 0))} lost"
        )
        words.append(line)
    if isinstance(ratio, (int, float)):
        line = f"drop ratio {percent(ratio)}"
        if isinstance(threshold, (int, float)):
            line += f", threshold {percent(threshold)}"
        attribution = evidence.get("attribution")
        if isinstance(attribution, str) and attribution not in ("", "none"):
            line += f"; from {attribution.replace('_', ' ')}"
        words.append(line)
    offered, served = evidence.get("offered_pps"), evidence.get("served_pps")
    if isinstance(offered, (int, float)) and isinstance(served, (int, float)):
        words.append(f"offered {scaled(offered, 'pkt/s')}, served {scaled(served, 'pkt/s')}")
    rules = evidence.get("top_rules")
    dropped = counters.get("dropped", 1) if isinstance(counters, Mapping) else 1
    if isinstance(rules, Sequence) and not isinstance(rules, str) and rules and dropped:
        named = [
            f"{rule.get('sid', rule.get('rule'))} ({percent(rule.get('share', 0.0))})"
            for rule in rules[:3]
            if isinstance(rule, Mapping)
        ]
        words.append("dropped most by rule " + ", ".join(named))
    permitted = evidence.get("permitted")
    if isinstance(permitted, Mapping) and "packets" in permitted:
        words.append(f"{count(permitted['packets'])} packets permitted uninspected meanwhile")
    return words


def _pairs(title: str, rows: Sequence[tuple[str, RenderableType]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def _share(part: int, whole: int) -> str:
    return f"{count(part)}  ({percent(part / whole)})" if whole else count(part)


def _traffic(summary: Summary) -> Table:
    rows: list[tuple[str, RenderableType]] = [
        ("packets", count(summary.packets)),
        ("bytes", count(summary.bytes)),
    ]
    if summary.capture_seconds:
        rows.append(("capture time", duration(summary.capture_seconds)))
    if summary.seconds:
        rate = scaled(summary.packets_per_second, "pkt/s")
        rows += [
            ("modelled time" if summary.modelled else "engine time", duration(summary.seconds)),
            ("rate", f"{rate}, {scaled(summary.bits_per_second, 'bit/s')}"),
        ]
    refused = f", {count(summary.rules_refused)} refused" if summary.rules_refused else ""
    rows += [("rules", f"{count(summary.rules_loaded)} loaded{refused}")]
    return _pairs("Traffic", rows)


def _verdicts(summary: Summary) -> Table:
    whole = summary.received
    return _pairs(
        "Packets",
        [
            ("inspected", _share(summary.inspected, whole)),
            ("bypassed", _share(summary.bypassed, whole)),
            ("blocked", _share(summary.blocked, whole)),
            ("lost", _share(summary.lost, whole)),
            ("received", count(whole)),
            ("alerts", count(summary.alerts)),
        ],
    )


def _peak(drops: Drops) -> Text:
    """The highest judged ratio, and of what it is the highest."""
    few = f"≥ {count(drops.minimum_packets)} packets"
    if drops.peak_at is None and drops.peak_seconds is None and not drops.peak:
        return Text(f"none: no window held {few}")
    peak = Text(percent(drops.peak), "bold red" if drops.peak > drops.threshold else "")
    if drops.peak_seconds is not None:
        peak.append(f" at {duration(drops.peak_seconds)}", "default not bold")
    if drops.ratio > drops.peak:
        peak.append(f", of windows with {few}", "default not bold")
    if drops.attribution and drops.attribution != "none":
        peak.append(f", {drops.attribution}", "default not bold")
    return peak


def _drops(summary: Summary, points: Sequence[DropPoint], ascii_only: bool) -> Table:
    drops = summary.drops
    rows: list[tuple[str, RenderableType]] = [
        ("over all", percent(drops.ratio)),
        ("peak", _peak(drops)),
        ("threshold", f"{percent(drops.threshold)} of {duration(drops.window_seconds)}"),
    ]
    if points:
        line = sparkline(points, drops.threshold, ascii_only=ascii_only)
        rows.append(("over time", line))
    return _pairs("Drop ratio", rows)


def _rules(rules: Sequence[RuleCount]) -> Table:
    table = Table(title="Top rules", title_justify="left", box=None, pad_edge=False)
    table.add_column("sid", justify="right")
    table.add_column("alerts", justify="right")
    table.add_column("drops", justify="right")
    table.add_column("signature", overflow="fold")
    for rule in rules:
        # a signature is text from a rules file: never markup
        table.add_row(
            str(rule.sid), count(rule.alerts), count(rule.drops), Text(safe(rule.signature))
        )
    return table


def _bypass_rules(rules: Sequence[BypassRuleCount]) -> Table:
    table = Table(title="Inspection bypass rules", title_justify="left", box=None, pad_edge=False)
    table.add_column("id", justify="right")
    table.add_column("action")
    table.add_column("hits", justify="right")
    table.add_column("name", overflow="fold")
    for rule in rules:
        table.add_row(str(rule.id), rule.action, count(rule.hits), Text(safe(rule.name)))
    return table


def _searches(part: OffloadPart) -> str:
    """How much of the software's searching was left out; a byte counts in each search."""
    whole = part.scanned_bytes + part.spared_bytes
    if not whole:
        return "there was nothing to search"
    return f"{percent(part.spared_bytes / whole)} of {scaled(whole, 'B')} to search"


def _covered(part: OffloadPart, rules: int) -> Text:
    """How many of the rules its tables stand for; loud when none."""
    text = Text(f"{count(part.rules_covered)} of {count(rules)}")
    if rules and not part.rules_covered:
        text.append(": its tables are of none of these rules, and spare nothing", "bold yellow")
    return text


def _offload(part: OffloadPart, rules: int) -> Table:
    frames = sum(part.verdicts.values())
    rows: list[tuple[str, RenderableType]] = [
        (name, _share(n, frames)) for name, n in part.verdicts.items() if n
    ]
    bad = "bold red" if part.disagreements else ""
    rows += [
        ("clear or bypass", percent(part.spared_share)),
        ("rules covered", _covered(part, rules)),
        ("searches spared", _searches(part)),
        ("judged twice", count(part.checks)),
        ("disagreements", Text(count(part.disagreements), bad)),
    ]
    if not part.active:
        rows.append(("state", Text("out of use", "bold red")))
    rows += [("error", Text(safe(error), "red")) for error in part.errors]
    return _pairs(f"FPGA ({safe(part.transport)})", rows)


def _by_hand(state: str, reason: str) -> bool:
    """Whether it is a fallback that somebody asked for: one without an error."""
    return state != "normal" and reason == "no error"


def _why(item: Transition) -> str:
    """Who or what made the change, where no error did."""
    given = (item.model_extra or {}).get("input")
    if _by_hand(item.to, item.reason) or (item.outcome, given) == ("restored", "restore by hand"):
        return "by hand"
    if item.outcome == "restored" and isinstance(given, str):
        return given
    return item.reason


def _change(item: Transition) -> Text:
    """What was done: the states, or what was refused."""
    line = Text()
    if item.outcome == "refused":
        if item.to == "normal":
            return line.append("restore refused, the engine was in normal state already")
        given = (item.model_extra or {}).get("input")
        if given == "fallback by hand":
            line.append("fallback refused, the engine was in ").append_text(state_text(item.to))
            return line.append(" already")
        line.append("restore refused, stays in ").append_text(state_text(item.to))
        return line.append(f"  {item.reason}", "bold")
    line.append_text(state_text(item.from_))
    line.append(" → ")
    line.append_text(state_text(item.to))
    line.append(f"  {_why(item)}", "bold")
    if item.outcome and item.outcome not in ("entered", "restored"):
        line.append(f" ({item.outcome})")
    return line


def _resolution(item: Transition) -> str:
    """What to do about a fallback; nothing for the way back to normal."""
    if item.to == "normal":
        return ""
    if _by_hand(item.to, item.reason):
        return "Restore to normal to resume inspection."
    return item.resolution


def _transitions(transitions: Sequence[Transition]) -> Group:
    parts: list[RenderableType] = [Text("Transitions", "italic")]
    for item in transitions:
        line = Text()
        when = item.at or ("" if item.at_packet is None else f"packet {count(item.at_packet)}")
        if item.at and item.at_packet is not None:
            when += f" (packet {count(item.at_packet)})"
        line.append(f"{when}  ")
        line.append_text(_change(item))
        parts.append(line)
        parts += [Text(safe(f"    {words}")) for words in evidence_words(item.evidence)]
        if resolution := _resolution(item):
            parts.append(Text(safe(f"    {resolution}")))
    return Group(*parts)


def _hint(summary: Summary) -> str:
    """What an operator should know who wonders why so much was blocked."""
    many = 20 * summary.midstream_blocked >= summary.received
    if not many or 2 * summary.midstream_blocked <= summary.blocked:
        return ""
    return (
        f"{count(summary.midstream_blocked)} packets were blocked because their TCP handshake was "
        "not in the capture; to inspect such sessions: --set stream.midstream=true, to let them "
        "through: --set stream.midstream-policy=ignore"
    )


def print_summary(
    summary: Summary,
    points: Sequence[DropPoint] = (),
    console: Console | None = None,
    *,
    faults: bool = True,
) -> None:
    """The closing tables of a run on `console` (standard output by default); faults: with
    what went wrong."""
    console = console or Console()
    ascii_only = not (console.encoding or "").lower().startswith("utf")
    blocks: list[RenderableType] = [
        _traffic(summary), _verdicts(summary), _drops(summary, points, ascii_only),
    ]  # fmt: skip
    if summary.offload is not None:
        blocks.append(_offload(summary.offload, summary.rules_loaded))
    if summary.top_rules:
        blocks.append(_rules(summary.top_rules))
    if summary.bypass_rules:
        blocks.append(_bypass_rules(summary.bypass_rules))
    if summary.transitions:
        blocks.append(_transitions(summary.transitions))
    ending = Text("The engine ended in state ")
    ending.append_text(state_text(summary.state))
    if _by_hand(summary.state, summary.reason):
        ending.append(": put there by hand")
    elif summary.reason and summary.reason != "no error":
        ending.append(f": {summary.reason}")
    blocks.append(ending)
    if hint := _hint(summary):
        blocks.append(Text(hint, "yellow"))
    for fault in summary.errors if faults else ():
        blocks.append(Text(safe(f"{fault.kind}: {fault.message}"), "red"))
    for block in blocks:
        console.print(block)
        console.print()


def summary_text(summary: Summary, points: Sequence[DropPoint] = (), width: int = 100) -> str:
    """The closing tables as plain text."""
    out = io.StringIO()
    print_summary(summary, points, Console(file=out, width=width, color_system=None))
    return out.getvalue()


class ReplayProgress:
    """Progress of a replay: bytes done, packets/s, drop ratio, state. A context manager;
    silent when `console` (standard error by default) is no terminal.

    Call `update` once per batch; the display itself is redrawn ten times a second.
    """

    def __init__(self, total_bytes: int | None, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self.shown = self._console.is_terminal
        self._progress = Progress(
            TextColumn("{task.fields[state]}"),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("drops {task.fields[drops]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self.shown,
        )
        self._task: TaskID = self._progress.add_task(
            "replay", total=total_bytes, state="[green]normal", rate="", drops=percent(0.0)
        )

    def update(
        self, done_bytes: int, packets_per_second: float, drop_ratio: float, state: str
    ) -> None:
        """done_bytes: of the captures' files; drop_ratio: of the last reading, 0-1."""
        if not self.shown:
            return
        self._progress.update(
            self._task,
            completed=done_bytes,
            state="[green]normal" if state == "normal" else f"[bold red]{escape(state.upper())}",
            rate=scaled(packets_per_second, "pkt/s"),
            drops=percent(drop_ratio),
        )

    def note(self, text: str) -> None:
        """A line above the bar, e.g. a transition as it happens."""
        if self.shown:
            self._progress.console.print(Text(safe(text)))

    def __enter__(self) -> ReplayProgress:
        if self.shown:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.shown:
            self._progress.stop()
