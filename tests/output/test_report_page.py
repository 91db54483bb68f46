"""The report of a replay: its figures are the ledger's, its texts are only texts."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traffic

import nsdata
from nsdata import Settings, cli
from nsdata.capture import CaptureReader, CaptureWriter
from nsdata.errors import OutputError, SettingError
from nsdata.fallback.reasons import State
from nsdata.offload import registers as reg
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.registers import ErrorClass
from nsdata.offload.session import ModelOffload
from nsdata.offload.transport import open_transport
from nsdata.output.timeline import FATES, SAID

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo" / "demo.rules"
VOID = {"meta"}
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "span", "b", "details",
    "summary", "table", "thead", "tbody", "tr", "th", "td", "svg", "rect", "line", "text", "path",
    "polyline", "circle",
}  # fmt: skip


@dataclass
class Page(HTMLParser):
    """What a browser would make of it, as far as it matters here."""

    source: str
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)  # of all tables
    bands: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._table = ""
        self._cell: list[str] | None = None
        self._bands = False
        self.feed(self.source)
        assert not self._open, "elements that do not end"

    def handle_starttag(self, tag: str, given: list[tuple[str, str | None]]) -> None:
        attributes = dict(given)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._table = attributes.get("id") or ""
        elif tag == "tr":
            self.rows.append([])
            self.tables.setdefault(self._table, []).append(self.rows[-1])
        elif tag in ("td", "th"):
            self._cell = []
        elif tag == "svg":
            self._bands = attributes.get("aria-label") == "states over time"

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("td", "th"):
            assert self._cell is not None
            self.rows[-1].append("".join(self._cell))
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._cell is not None:
            self._cell.append(data)
        elif self._bands and self._open[-1] == "title":
            self.bands.append(data)

    def numbers(self, table: str) -> dict[str, list[int]]:
        """The columns of a table of numbers, by name."""
        head, *rows = self.tables[table]
        return {
            name: [int(row[at].replace(",", "")) for row in rows]
            for at, name in enumerate(head)
            if name in (*FATES, "bytes", *SAID)
        }


def report(path: Path, capture: Path, rules: Any = DEMO, **options: Any) -> tuple[Page, Any]:
    result = nsdata.replay(capture, rules, report=path, **options)
    return Page(path.read_text(encoding="utf-8")), result


class Struck(DrivenOffload):
    """The golden model behind registers, struck by an error at a frame."""

    def __init__(self, at: int, error: ErrorClass = ErrorClass.SEU) -> None:
        super().__init__(open_transport("model:64"))
        self.left, self.error = at, error

    def inspect(self, batch: Any) -> Any:
        if 0 < self.left <= len(batch):
            self.driver.transport.write(reg.ERR_INJECT.address, 1 << self.error)
        self.left -= len(batch)
        return super().inspect(batch)


def adds_up(page: Page, result: Any) -> None:
    """Intervals, ledger table and summary say the same."""
    summary = result.summary
    columns = page.numbers("intervals")
    for fate in FATES:
        assert sum(columns[fate]) == getattr(summary, fate)
    assert sum(columns["bytes"]) == summary.bytes
    said = summary.offload.verdicts if summary.offload is not None else dict.fromkeys(SAID, 0)
    assert {name: sum(columns[name]) for name in SAID} == said
    rows = {row[0]: int(row[2].replace(",", "")) for row in page.tables["ledger"][1:]}
    assert rows["received"] == summary.received
    assert {fate: rows[fate] for fate in FATES} == {f: getattr(summary, f) for f in FATES}
    reasons = {name[2:]: n for name, n in rows.items() if name.startswith("· ")}
    assert reasons == summary.reasons


@pytest.mark.parametrize("offload", [None, "model"])
def test_figures_are_those_of_the_ledger(tmp_path: Path, office: Path, offload: Any) -> None:
    options = {"inline": True, "capacity_pps": 30, "queue": 64, "restore_after_ns": 7 * 10**9}
    page, result = report(tmp_path / "r.html", office, offload=offload, **options)
    adds_up(page, result)
    # Each interval holds the frames of its time.
    with CaptureReader(office) as reader:
        times = np.concatenate([batch.ts_ns.copy() for batch in reader.batches()])
    since = np.maximum.accumulate(times).astype(np.int64) - int(times[0])
    columns = page.numbers("intervals")
    whole = [sum(row) for row in zip(*(columns[fate] for fate in FATES), strict=True)]
    wanted = np.bincount(since // 256_000_000)
    assert [n for n in whole if n] == [n for n in wanted.tolist() if n]
    # An overload, the fallback it led to, and the restore.
    assert [one.split(":")[0] for one in page.bands] == ["inspecting", "fallback", "inspecting"]
    outcomes = [one.outcome for one in result.summary.transitions]
    assert outcomes == ["entered", "refused", "restored"]
    assert ["reason", "threshold error"] in page.rows
    assert ["attribution", "over-subscription"] in page.rows
    assert ["drop-meter.threshold", "0.9"] in page.rows and "changed" not in page.tables
    assert ("fpga" in page.tables) is (offload is not None)


def test_an_error_of_the_block(tmp_path: Path, office: Path) -> None:
    settings = Settings.load(sets=["offload.restore-frames=100", "offload.check-share=0.5"])
    page, result = report(
        tmp_path / "r.html", office, offload=Struck(3000), settings=settings,
        restore_after_ns=8 * 10**9,
    )  # fmt: skip
    adds_up(page, result)
    bands = [one.split(":")[0] for one in page.bands]
    assert bands == ["inspecting", "fallback", "restoring", "inspecting"]
    entered, left = result.summary.transitions
    states = page.tables["states"][1:]
    assert [row[0] for row in states] == bands
    with CaptureReader(office) as reader:
        first = int(next(reader.batches()).ts_ns[0])
    for row, one in zip(states[1:], (entered, left), strict=False):
        assert row[1] == f"{(one.at_ns - first) / 1e9:.3f}"
    assert ["given.fpga.class", "SEU"] in page.rows and ["id", "0x5444534e"] in page.rows
    assert any(row[0] == "given.fpga.words" and "upset" in row[1] for row in page.rows)
    assert ["offload.restore-frames", "100"] in page.tables["changed"]
    assert page.tables["fpga"][-1][:2] == ["FAULT", "64"]


def test_going_on_without_the_block(tmp_path: Path, office: Path) -> None:
    settings = Settings.load(sets=["offload.on-failure=software"])
    page, result = report(tmp_path / "r.html", office, offload=Struck(3000), settings=settings)
    adds_up(page, result)
    assert [one.split(":")[0] for one in page.bands] == ["inspecting", "without the FPGA"]
    assert any("the device reports an upset" in text for text in page.texts)


def test_two_replays_give_the_same_bytes_and_the_record_is_as_without(
    tmp_path: Path, office: Path
) -> None:
    options = {"offload": "model", "capacity_pps": 30, "queue": 64, "inline": True}
    pages, lines = [], []
    for name in ("a", "b"):
        done = nsdata.replay(office, DEMO, report=tmp_path / name, **options)
        pages.append((tmp_path / name).read_bytes())
        lines.append(done.eve)
    lines.append(nsdata.replay(office, DEMO, **options).eve)
    assert pages[0] == pages[1] and lines[0] == lines[1] == lines[2]


@pytest.mark.parametrize("offload", [None, "model"])
def test_how_frames_are_batched_does_not_matter(
    tmp_path: Path, office: Path, offload: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = report(tmp_path / "a", office, offload=offload)
    batches = CaptureReader.batches
    monkeypatch.setattr(CaptureReader, "batches", lambda self, n=64 * 3: batches(self, n))
    pieces, _ = report(tmp_path / "b", office, offload=offload)
    assert whole.source == pieces.source


HOSTILE = '</title><script>alert(1)</script><img src=//evil/x onerror="a()">&lt;\u202e"\'\x1b[2J'


def test_what_is_hostile_stays_text(tmp_path: Path) -> None:
    """Messages of rules, names of captures, errors, settings: nothing of it is markup, nothing
    is fetched, nothing runs."""
    name = HOSTILE.replace("/", "⁄")
    capture = tmp_path / f"{name}.pcap"
    with CaptureWriter(capture) as writer:
        batch = traffic.batch([traffic.udp(b"needle")] * 300)
        writer.write(batch, np.ones(300, bool))
    with open(capture, "ab") as file:
        file.write(b"torn")
    rules = tmp_path / "r.rules"
    text = HOSTILE.replace('"', '\\"').replace(";", "\\;").replace(":", "\\:")
    rules.write_text(f'drop udp any any -> any any (msg:"{text}"; content:"needle"; sid:1;)\n')
    settings = Settings.load(sets=["vars.address-groups.HOME_NET=[10.0.0.0/8]"])
    page, result = report(
        tmp_path / "r.html", capture, rules, inline=True, settings=settings, offload="model"
    )
    assert result.summary.errors and result.summary.top_rules[0].drops == 300
    assert {tag for tag, _ in page.tags} <= TAGS
    for tag, attributes in page.tags:
        for one in attributes:
            assert not one.startswith("on") and one not in ("src", "href"), tag
    assert page.source.count("<script") == page.source.count("<img") == 0
    assert all(c.isprintable() or c == "\n" for c in page.source)
    [policy] = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    shown = [row for row in page.rows if row[:1] == ["1:1"]]
    assert shown and "<script>alert(1)</script>" in shown[0][1]


def test_nothing_that_is_not_to_be_seen(tmp_path: Path, office: Path) -> None:
    """No bytes of frames, and no value of a setting with a telling name."""

    class Wrong(ModelOffload):
        def inspect(self, batch: Any) -> Any:
            return np.ones(len(batch), np.uint8)  # CLEAR, whatever comes

    sets = ["offload.check-share=1", "vars.address-groups.API_TOKEN=[203.0.113.77]"]
    settings = Settings.load(sets=sets)
    page, result = report(tmp_path / "r.html", office, offload=Wrong(), settings=settings)
    [entered] = result.summary.transitions
    found = entered.evidence["given"]["fpga"]
    assert found["class"] == "disagreement" and len(found["bytes"]) >= 80
    assert found["bytes"][:24] not in page.source
    words = f"({len(found['bytes']) // 2} bytes of the frame: see the EVE event)"
    assert ["given.fpga.bytes", words] in page.rows
    assert ["vars.address-groups.API_TOKEN", "(not shown)"] in page.rows
    assert "203.0.113.77" not in page.source


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_a_frame(tmp_path: Path, count: int) -> None:
    capture = tmp_path / "few.pcap"
    with CaptureWriter(capture) as writer:
        writer.write(traffic.batch([traffic.udp(b"x")] * 2), np.arange(2) < count)
    if not count:
        shutil.copy(ROOT / "tests" / "captures" / "variants" / "empty.pcap", capture)
    page, result = report(tmp_path / "r.html", capture)
    assert result.summary.received == count
    assert len(page.bands) == min(count, 1)
    if count:
        adds_up(page, result)


def test_many_transitions_are_a_page_still(tmp_path: Path) -> None:
    capture = tmp_path / "long.pcap"
    times = [traffic.START_NS + i * 10**9 for i in range(2000)]
    with CaptureWriter(capture) as writer:
        writer.write(traffic.batch([traffic.udp(b"x")] * 2000, times), np.ones(2000, bool))
    switches = [
        nsdata.Switch(State(state), at_frame=n)
        for n, state in zip(range(2, 2000, 2), ["fallback", "normal"] * 1000, strict=False)
    ]
    page, result = report(tmp_path / "r.html", capture, switches=switches)
    assert len(result.summary.transitions) == 999 and len(page.bands) == 1000
    assert sum(tag == "details" for tag, _ in page.tags) < 130
    assert any(text.startswith("… 879 more") for text in page.texts)
    assert len(page.source) < 600_000
    ends = [one.split(": ")[1].split(" to ") for one in page.bands]
    assert all(a[1] == b[0] for a, b in pairwise(ends))
    adds_up(page, result)


# --- the command line -----------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["nsdata", "replay", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_from_the_command_line(monkeypatch, capsys, tmp_path: Path, office: Path) -> None:
    path = tmp_path / "r.html"
    assert run(monkeypatch, office, "-r", DEMO, "--report", path, "-q") == 0
    written = path.read_text(encoding="utf-8")
    capsys.readouterr()
    assert run(monkeypatch, office, "-r", DEMO, "--report", "-") == 0
    assert capsys.readouterr().out == written
    assert run(monkeypatch, office, "--report", tmp_path / "none" / "r.html", "-q") == 1
    assert "cannot write" in capsys.readouterr().err
    assert run(monkeypatch, office, "--report", path, "--summary", path, "-q") == 2
    assert "are the same file" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == written


def test_no_input_is_overwritten(office: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--report"):
        nsdata.replay(office, DEMO, report=office)
    with pytest.raises(OutputError):
        nsdata.replay(office, DEMO, report=tmp_path)
