"""What rules cost, switching them off, and alerts that are counted instead of written."""

import numpy as np
import pytest
import traffic
from engines import DROP, Run
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata import EngineError, Verdict
from nsdata.path.engine import Engine

RULES = (
    'drop udp any any -> any any (content:"evil"; sid:1;)',
    'alert udp any any -> any 5000 (pcre:"/h.llo/"; sid:2;)',
    "alert udp any any -> any 7 (sid:3;)",
    'alert udp any any <> any any (content:"hello"; dsize:>5; sid:4;)',
    'pass udp any any -> any any (content:"friend"; sid:5;)',
    "alert tcp any any -> any any (flags:S; sid:6;)",
    'reject tcp any any -> any 80 (flow:to_server; content:"evil"; sid:7;)',
)
ALL = "\n".join(RULES)
PAYLOADS = (b"hello", b"hello world", b"evil", b"evil friend", b"nothing", b"")
frames = st.lists(
    st.one_of(
        st.builds(
            traffic.udp,
            st.sampled_from(PAYLOADS),
            sport=st.integers(1000, 1004),
            dport=st.sampled_from([7, 5000]),
        ),
        st.builds(
            lambda payload, flags: traffic.tcp(payload, dport=80, flags=flags),
            st.sampled_from(PAYLOADS),
            st.sampled_from([2, 16, 24]),
        ),
    ),
    max_size=40,
)


def costs(run: Run) -> dict[str, dict[int, int]]:
    """By sid: source rules stand in the order in which they act."""
    return {name: dict(zip(run.rules.sids, map(int, array), strict=True))
            for name, array in run.engine.rule_costs().items()}  # fmt: skip


def switch(run: Run, sid: int, on: bool) -> None:
    run.engine.switch_rule(run.rules.sids.index(sid), on)


def test_counts_of_what_was_checked_and_verified() -> None:
    """A pattern that was not found costs nothing; a port that differs ends it after the check."""
    run = Run(ALL).feed([traffic.udp(b"hello")] * 3 + [traffic.udp(b"evil", dport=7)])
    found = costs(run)
    # sid 3 is of addresses and ports alone: checked once a flow; dsize:>5 of sid 4 held of none
    assert found["checked"] == {1: 1, 2: 3, 3: 2, 4: 3, 5: 0, 6: 0, 7: 0}
    assert found["verified"] == {1: 1, 2: 3, 3: 1, 4: 0, 5: 0, 6: 0, 7: 0}
    assert run.engine.protection_counts() == (0, 4, sum(map(len, [traffic.udp(b"hello")] * 4)) - 1)


def test_time_is_charged_to_the_rule_that_takes_it() -> None:
    """A search for what is nowhere, through the whole payload, against a look at a port."""
    slow = 'alert udp any any -> any any (pcre:"/(a+)+b.*(c+)+d/s"; sid:1;)'
    cheap = "alert udp any any -> any 7 (sid:2;)"
    run = Run(slow + "\n" + cheap)
    for _ in range(20):
        run.feed([traffic.udp(b"a" * 1000)] * 100)
    first, second = (costs(run)["ns"][sid] for sid in (1, 2))
    assert first > 4 * second >= 0


@settings(max_examples=60, deadline=None)
@given(frames, st.sets(st.integers(1, len(RULES))), st.booleans())
def test_a_rule_that_is_off_is_as_if_it_were_not_there(
    sent: list[bytes], off: set[int], inline: bool
) -> None:
    run = Run(ALL, inline=inline)
    for sid in off:
        switch(run, sid, False)
    run.feed(sent).finish()
    rest = "\n".join(rule for sid, rule in enumerate(RULES, 1) if sid not in off)
    without = Run(rest, inline=inline).feed(sent).finish()
    assert run.verdicts == without.verdicts
    assert [(e.kind, e.frame, e.sid, e.why) for e in run.events] == [
        (e.kind, e.frame, e.sid, e.why) for e in without.events
    ]
    found = costs(run)
    matched = run.engine.rule_counts()["matched"]
    for number, sid in enumerate(run.rules.sids):
        assert matched[number] <= found["verified"][sid] <= found["checked"][sid]
        assert sid not in off or found["checked"][sid] == 0
    _, verified, _ = run.engine.protection_counts()
    assert verified <= len(sent) and (verified > 0) == any(found["verified"].values())


def test_a_rule_is_switched_on_again_and_by_new_rules() -> None:
    run = Run(ALL, inline=True)
    evil = [traffic.udp(b"evil")]
    switch(run, 1, False)
    run.feed(evil)
    switch(run, 1, True)
    run.feed(evil)
    switch(run, 1, False)
    run.engine.swap_rules(run.rules.base, run.rules.numbers)
    assert not any(costs(run)["checked"].values())
    run.feed(evil)
    assert run.verdicts == [Verdict.PASS, Verdict.DROP, Verdict.DROP]


@pytest.mark.parametrize("number", [len(RULES), 2**32 - 1])
def test_a_rule_that_is_not_there(number: int) -> None:
    with pytest.raises(EngineError, match=f"no rule of number {number}"):
        Run(ALL).engine.switch_rule(number, False)


@settings(max_examples=40, deadline=None)
@given(frames, st.integers(0, 40))
def test_suspended_alerts_are_counted_and_rules_act(sent: list[bytes], at: int) -> None:
    """All verdicts and drops are as without; alerts that were not written are counted."""
    plain = Run(ALL, inline=True).feed(sent)
    run = Run(ALL, inline=True).feed(sent[:at])
    run.engine.suspend_alerts(True)
    run.feed(sent[at:])
    suspended, _, _ = run.engine.protection_counts()
    assert run.verdicts == plain.verdicts
    assert [e.frame for e in run.of(DROP)] == [e.frame for e in plain.of(DROP)]
    assert run.alerts() == [a for a in plain.alerts() if a[0] <= at]
    assert len(run.alerts()) + suspended == len(plain.alerts())
    run.engine.suspend_alerts(False)
    assert (b"friend" in b"".join(sent)) or run.feed([traffic.udp(b"hello world")] * 2).alerts()


def test_costs_of_no_rules() -> None:
    run = Run("").feed([traffic.udp(b"x")])
    assert all(len(array) == 1 and not array.any() for array in run.engine.rule_costs().values())


def test_an_engine_that_was_not_made() -> None:
    with pytest.raises(EngineError, match="not initialised"):
        Engine.__new__(Engine).rule_costs()


def test_costs_are_sums_over_the_packets() -> None:
    """However frames are cut into batches."""
    sent = [traffic.udp(p, sport=1000 + i) for i, p in enumerate(PAYLOADS * 5)]
    one = Run(ALL).feed(sent)
    many = Run(ALL)
    for frame in sent:
        many.feed([frame])
    for name in ("checked", "verified"):
        assert np.array_equal(one.engine.rule_costs()[name], many.engine.rule_costs()[name])
