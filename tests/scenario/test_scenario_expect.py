"""Every expectation can hold, and can fail: all of them of one incident."""

import pytest
from scenes import ATTACK, QUICK, scene

from nsdata.scenario.expect import CHECKS, Expect
from nsdata.scenario.judge import LEDGER, Verdict, dotted, judge, told_fits
from nsdata.scenario.run import Result, run

INCIDENT = """
[[action]]
name = "hang"
at = "2s"
do = "stop"
process = "worker-0"

[[action]]
name = "early"
at = "3s"
do = "restore"

[[action]]
name = "restored"
at = "5s"
do = "restore"
"""
# key -> (what holds, what fails)
PAIRS = {
    "state": ('after = "hang"\nwithin = "600ms"\nstate = "fallback"',
              'after = "hang"\nwithin = "400ms"\nstate = "fallback"'),
    "state at once": ('at = "1s"\nstate = "normal"', 'at = "4s"\nstate = "normal"'),
    "state at the end": ('state = "normal"', 'state = "fallback"'),
    "state throughout": ('after = "hang"\nfor = "499ms"\nstate = "normal"',
                         'after = "hang"\nfor = "502ms"\nstate = "normal"'),
    "state in packets": ('after = "hang"\nwithin_packets = 510\nstate = "fallback"',
                         'after = "hang"\nwithin_packets = 490\nstate = "fallback"'),
    "state at a packet": ('at_packet = 1000\nstate = "normal"',
                          'at_packet = 3000\nstate = "normal"'),
    "reason": ('at = "4s"\nreason = "heartbeat error"', 'at = "4s"\nreason = "memory error"'),
    "severity": ('at = "4s"\nseverity = "Critical"', 'at = "4s"\nseverity = "Warning"'),
    "outcome": ('after = "early"\nwithin = "1ms"\noutcome = "refused"',
                'after = "restored"\nwithin = "1ms"\noutcome = "refused"'),
    "evidence": ('after = "hang"\nevidence = { "given.process" = "worker-0" }',
                 'after = "hang"\nevidence = { "given.process" = "worker-1" }'),
    "evidence is there": ('after = "hang"\nevidence = { "given.silence_ns" = "*" }',
                          'after = "hang"\nevidence = { "given.no_such" = "*" }'),
    "evidence compared": ('after = "hang"\nevidence = { "given.silence_ns" = "> 500000000" }',
                          'after = "hang"\nevidence = { "given.silence_ns" = "<= 500000000" }'),
    "evidence in time": ('after = "hang"\nwithin = "501ms"\nevidence = { "given.process" = "*" }',
                         'after = "hang"\nwithin = "499ms"\nevidence = { "given.process" = "*" }'),
    "evidence of a refusal": ('after = "early"\nfor = "1ms"\noutcome = "refused"\n'
                              'evidence = { "recheck.holds" = true }',
                              'after = "early"\nfor = "1ms"\n'
                              'evidence = { "recheck.holds" = true }'),
    "packets from a packet on": ('at_packet = 1000\nfor = "1s"\npackets = { received = 1000 }',
                                 'at_packet = 1000\nfor = "1s"\npackets = { received = 2000 }'),
    "also_holding": ('after = "hang"\noutcome = "entered"\nalso_holding = []',
                     'after = "hang"\nalso_holding = "memory error"'),
    "event": ('after = "hang"\nevent = "recovered"\nsubject = "worker-0"',
              'after = "hang"\nevent = "recovered"\nsubject = "port"'),
    "event in time": ('after = "hang"\nwithin = "2s"\nevent = "recovered"',
                      'after = "hang"\nwithin = "700ms"\nevent = "recovered"'),
    "event in packets": ('after = "hang"\nwithin_packets = 901\nevent = "recovered"',
                         'after = "hang"\nwithin_packets = 899\nevent = "recovered"'),
    "event so often": ('after = "hang"\nevent = "recovered"\ntimes = 1',
                       'after = "hang"\nevent = "recovered"\ntimes = 0'),
    "alerts": ('at = "0s"\nfor = "1s"\nalerts = { "1" = 20 }',
               'at = "0s"\nfor = "1s"\nalerts = { "1" = 19 }'),
    "alerts_at_least": ('alerts_at_least = { "1" = 40 }', 'alerts_at_least = { "1" = 4000 }'),
    "packets": ('at = "4s"\nfor = "500ms"\npackets = { inspected = 0 }',
                'at = "1s"\nfor = "500ms"\npackets = { inspected = 0 }'),
    "packets_at_least": ('after = "hang"\npackets_at_least = { oversubscribed = 400 }',
                         'after = "restored"\npackets_at_least = { oversubscribed = 1 }'),
    "packets_at_most": ('packets_at_most = { blocked = 0 }', 'packets_at_most = { received = 9 }'),
    "permitted_at_least": ("permitted_at_least = 0.9", "permitted_at_least = 0.95"),
    "transitions": ("transitions = 2", "transitions = 1"),
    "transitions of a time": ('at = "4s"\ntransitions = 1', 'at = "4s"\ntransitions = 2'),
    "lines_lost": ("lines_lost = 0", "lines_lost = 1"),
}  # fmt: skip


@pytest.fixture(scope="module")
def result() -> Result:
    """The incident, with all of them: what holds first, what fails second."""
    entries = INCIDENT + "".join(
        f"[[expect]]\n{text}\n" for pair in PAIRS.values() for text in pair
    )
    return run(scene(entries))


@pytest.mark.parametrize("key", PAIRS)
def test_it_holds_and_it_fails(result: Result, key: str) -> None:
    at = 1 + 2 * list(PAIRS).index(key)
    holds, fails = result.verdicts[at : at + 2]
    assert holds.ok and not holds.skipped, holds
    assert holds.found
    assert not fails.ok, fails
    assert fails.found and fails.expected


def test_all_checks_are_among_them() -> None:
    assert set(CHECKS) <= set(PAIRS)


def test_the_ledger_is_always_expected(result: Result) -> None:
    assert result.verdicts[0].title == LEDGER and result.verdicts[0].ok
    result.record.offered = 1
    try:
        wrong = judge(result.scenario, result.record)[0]
        assert not wrong.ok and "6,000" in wrong.found
    finally:
        result.record.offered = 6000
    result.record.faults.append("received 3 ≠ 2")
    try:
        assert "3 ≠ 2" in judge(result.scenario, result.record)[0].found
    finally:
        result.record.faults.clear()


def verdict(text: str, **given: str) -> Verdict:
    """Of one expectation in a calm run."""
    return run(scene(f"[[expect]]\n{text}\n", duration="2s", **given)).verdicts[1]


def test_what_cannot_be_told_fails() -> None:
    """Not what merely did not happen: it is no success."""
    late = '[[action]]\nname = "never"\nat_packet = 100000\ndo = "restore"\n'
    found = run(scene(late + '[[expect]]\nafter = "never"\nstate = "normal"\n', duration="1s"))
    assert not found.verdicts[1].ok and "never was never" in found.verdicts[1].found
    assert "only 2,000 packets" in verdict('at_packet = 5000\nstate = "normal"').found
    act = '[[action]]\nname = "a"\nat = "1900ms"\ndo = "restore"\n'
    found = run(scene(act + '[[expect]]\nafter = "a"\nfor = "1s"\nstate = "normal"\n',
                      duration="2s"))  # fmt: skip
    assert not found.verdicts[1].ok and "too early to tell" in found.verdicts[1].found


def test_an_entry_that_comes_late_says_so(result: Result) -> None:
    found = next(one for one in result.verdicts if "within 499ms" in one.expected)
    assert found.found.startswith("too late: fallback (heartbeat error, Critical) after 500.0 ms")


def test_what_is_of_the_other_kind_of_run_is_left_out() -> None:
    left = verdict('only = "real"\nstate = "fallback"')
    assert left.ok and left.skipped == "only of real runs"


def test_a_late_success_is_a_failure_that_says_so(result: Result) -> None:
    wanted = "after hang within 400ms"
    found = next(one for one in result.verdicts if wanted in one.expected and "state" in one.title)
    assert found.found.startswith("too late: fallback (heartbeat error, Critical) after 500.0 ms")
    assert found.evidence["given"]["process"] == "worker-0"


@pytest.mark.parametrize(("value", "wanted", "fits"), [
    (3, 3, True), (3, 4, False), (3, "> 2", True), (3, ">3", False), (3, ">= 3", True),
    (3, "< 3", False), (3, "<= 3", True), (3, "!= 3", False), (3, "!= 4", True),
    ("x", "x", True), ("x", "> 1", False), (None, "*", True), (True, True, True),
    (True, 1, False), (1, True, False), (0.5, "> 0.25", True),
])  # fmt: skip
def test_evidence_is_compared(value: object, wanted: str, fits: bool) -> None:
    assert told_fits(value, wanted) is fits


def test_evidence_is_found_by_a_dotted_key() -> None:
    tree = {"a": [{"b": 1}], "c": {"d": None}}
    assert dotted(tree, "a.0.b") == (True, 1)
    assert dotted(tree, "c.d") == (True, None)
    for key in ("a.1.b", "a.x", "c.d.e", "z"):
        assert dotted(tree, key) == (False, None)


def test_titles_say_what_is_wanted() -> None:
    one = Expect.model_validate({"after": "x", "within": "2s", "state": "fallback"})
    assert one.title == "state fallback after x within 2s"
    assert Expect.model_validate({"name": "so", "transitions": 0}).title == "so"


def test_lines_are_lost_with_a_writer_and_a_worker() -> None:
    """Two of them fail: what the worker could not hand over is gone with it."""
    entries = """
[[action]]
at = "1s"
do = "stop"
process = "writer"
[[action]]
at = "1300ms"
do = "kill"
process = "worker-0"
[[expect]]
lines_lost = 0
"""
    found = run(scene(entries, duration="3s", settings=QUICK, top=ATTACK))
    assert not found.verdicts[1].ok
    assert found.record.lines_lost == 6  # a fiftieth of the frames of 0.3 s
