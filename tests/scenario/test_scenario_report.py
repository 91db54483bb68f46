"""JUnit XML, the HTML report, and the comparison of policies."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from scenes import ran, scene

from nsdata.errors import SettingError
from nsdata.scenario.compare import HEAD, comparison, differing, page_of, policies, row
from nsdata.scenario.files import summary
from nsdata.scenario.junit import junit
from nsdata.scenario.page import page
from nsdata.scenario.run import Result

INCIDENT = """
[[action]]
name = "hang"
at = "2s"
do = "stop"
process = "worker-0"
[[action]]
at = "5s"
do = "restore"
[[expect]]
name = "it <falls> & says \\"why\\""
after = "hang"
within = "600ms"
reason = "heartbeat error"
[[expect]]
name = "too soon \\u0007"
after = "hang"
within = "100ms"
state = "fallback"
[[expect]]
only = "real"
state = "normal"
"""
VOID = {"meta", "br", "hr", "img", "input", "link"}


@pytest.fixture(scope="module")
def result() -> Result:
    """One expectation holds, one fails, one is left out; and the ledger."""
    return ran(INCIDENT)


class Strict(HTMLParser):
    """Elements that are closed in order; nothing that runs, nothing that fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(html: str) -> Strict:
    reader = Strict()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    assert not {tag for tag, _ in reader.seen} & {"script", "link", "img", "iframe", "object"}
    for _, attributes in reader.seen:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("href", "src"):
            assert (attributes.get(key) or "#").startswith("#")
    assert "default-src 'none'" in html
    return reader


# --- JUnit ------------------------------------------------------------------------------------


def cases(root: ET.Element) -> Iterator[ET.Element]:
    """Of a document whose counts are those of its cases."""
    assert root.tag == "testsuites"
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in root:
        assert suite.tag == "testsuite" and suite.get("name")
        float(suite.get("time", ""))
        assert int(suite.get("tests", "")) == len(suite)
        for kind, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(kind, "")) == len(suite.findall(f"testcase/{child}"))
        for name in totals:
            totals[name] += int(suite.get(name, ""))
        for case in suite:
            assert case.tag == "testcase" and case.get("name") and case.get("classname")
            float(case.get("time", ""))
            assert {child.tag for child in case} <= {"failure", "skipped"} and len(case) <= 1
            yield case
    assert {name: int(root.get(name, "")) for name in totals} == totals


def test_junit_has_a_case_for_each_expectation(result: Result) -> None:
    root = ET.fromstring(junit([result, result]))
    ledger, holds, fails, left = list(cases(root))[:4]
    assert len(root) == 2 and len(list(cases(root))) == 8
    assert ledger.get("name") == "ledger balanced"
    assert holds.get("name") == '1. it <falls> & says "why"' and len(holds) == 0
    assert left.find("skipped") is not None
    failure = fails.find("failure")
    assert failure is not None and failure.text
    message = failure.get("message", "")
    assert "expected state fallback after hang within 100ms" in message
    assert "found too late" in message
    for part in ("scene.toml:", "expected:", "found:", "evidence:", "silence_ns"):
        assert part in failure.text
    assert "\x07" not in junit([result])


def test_junit_of_runs_alike_is_alike(result: Result) -> None:
    assert junit([result]) == junit([ran(INCIDENT)])


# --- the page -----------------------------------------------------------------------------------


def test_the_page_is_whole_and_says_what_happened(result: Result) -> None:
    html = page([result])
    reader = read(html)
    text = " ".join(reader.text)
    for part in ("heartbeat error", "stop worker-0", "too late", "left out", "holds", "FAILED",
                 "1 of 4 expectations failed", "threshold", "received"):  # fmt: skip
        assert part in text, part
    marks = [attributes.get("class") for tag, attributes in reader.seen if tag == "path"]
    assert marks.count("action") == 2  # triangles: what was done
    assert marks.count("entry") == len(result.record.entries) == 2
    assert marks.count("miss") == 1
    bands = [a.get("class") for tag, a in reader.seen if tag == "rect"]
    assert "fallback" in bands and bands.count("normal") >= 2
    assert html == page([ran(INCIDENT)])


def test_what_a_scenario_says_does_not_get_into_the_page_as_html() -> None:
    evil = ran('[[expect]]\nname = "<script>alert(1)</script>"\nstate = "fallback"\n',
               duration="1s", top='title = "<img src=x onerror=y>"\nstory = "</p><b>"')  # fmt: skip
    assert "&lt;script&gt;" in page([evil])
    read(page([evil]))


def test_a_page_of_several_leads_to_each(result: Result) -> None:
    reader = read(page([result, result]))
    links = [a["href"] for tag, a in reader.seen if tag == "a"]
    ids = [a.get("id") for tag, a in reader.seen if tag == "section"]
    assert links == ["#s0", "#s1"] and ids == ["s0", "s1"]


def test_states_are_drawn_where_they_were(result: Result) -> None:
    """6 s over the width of the drawing: fallback from 2.5 s to 5 s."""
    reader = read(page([result]))
    band = next(a for tag, a in reader.seen if tag == "rect" and a.get("class") == "fallback"
                and a.get("height") == "20")  # fmt: skip
    left, width = float(band["x"] or 0), float(band["width"] or 0)
    span = 960 - 70 - 14
    assert left == pytest.approx(70 + span * 2.5 / 6, abs=2)
    assert width == pytest.approx(span * 2.5 / 6, abs=2)


def test_the_summary_is_json(result: Result) -> None:
    told = json.loads(json.dumps(summary(result)))
    assert told["ok"] is False and told["packets"]["received"] == 6000
    assert [one["state"] for one in told["states"]] == ["normal", "fallback", "normal"]
    assert [one["ok"] for one in told["expectations"]] == [True, True, False, True]


# --- comparing ------------------------------------------------------------------------------------


def test_policies_are_every_combination() -> None:
    assert policies(["drop_threshold=50,90"]) == [
        ("drop-meter.threshold=0.5",), ("drop-meter.threshold=0.9",)
    ]  # fmt: skip
    assert policies(["watch.heartbeat=1s,2s", "appliance.workers=1,2"]) == [
        ("watch.heartbeat=1s", "appliance.workers=1"),
        ("watch.heartbeat=1s", "appliance.workers=2"),
        ("watch.heartbeat=2s", "appliance.workers=1"),
        ("watch.heartbeat=2s", "appliance.workers=2"),
    ]
    assert policies(["restore.steps=1%:5s,100%:5s|100%:5s"]) == [
        ("restore.steps=1%:5s,100%:5s",), ("restore.steps=100%:5s",)
    ]  # fmt: skip


@pytest.mark.parametrize(("sets", "said"), [
    (["nonsense"], "write KEY=A,B,C"),
    (["drop_threshold=0,50"], "no percentage"),
    (["watch.hartbeat=1s"], "did you mean watch.heartbeat"),
    (["appliance.wrokers=1"], "appliance.workers"),
    (["watch.heartbeat=" + ",".join(f"{i}s" for i in range(1, 66))], "at most 64"),
])  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(sets: list[str], said: str) -> None:
    with pytest.raises(SettingError, match="--set") as caught:
        policies(sets)
    assert said in str(caught.value)


def test_a_comparison_shows_where_policies_differ() -> None:
    """A flood in which four fifths are lost: half of the policies fall back."""
    flood = scene('[[expect]]\nstate = "normal"\n', rate="10kpps", box='capacity = "2kpps"',
                  duration="4s")  # fmt: skip
    results = comparison(flood, policies(["drop_threshold=50,70,90"]))
    rows = [row(one) for one in results]
    course, first = HEAD.index("course"), HEAD.index("first fallback")
    fell = "0.000 s normal → 1.000 s threshold error"
    assert [one[course] for one in rows] == [fell, fell, "0.000 s normal"]
    assert rows[0][first] == "1.000 s" and rows[2][first] == "never"
    assert differing(rows) == {2}
    assert [one[-1] for one in rows] == ["1 of 2 hold", "1 of 2 hold", "2 of 2 hold"]
    html = page_of(results)
    text = " ".join(read(html).text)
    assert text.count("drop-meter.threshold=0.7") >= 2 and "threshold error" in text
    assert html.count('<tr class="bad">') == 1


def test_policies_are_all_checked_before_the_first_runs() -> None:
    with pytest.raises(SettingError, match=r"watch\.heartbeat"):
        comparison(scene(), policies(["watch.heartbeat=1s,1ms"]))


def test_any_figure_makes_a_policy_differ() -> None:
    assert differing([("a", "x", 1), ("b", "x", 1), ("c", "x", 2), ("d", "y", 1)]) == {2, 3}
