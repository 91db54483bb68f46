"""Per segment: permit, block, or a budget of what may pass uninspected."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.errors import EngineError, SettingError
from nsdata.fallback.exposure import Exposure, SegmentAction, SegmentPolicy, SetSegment

SECOND = 10**9
REFILL = 100 * SECOND
PERMIT, BLOCK = SegmentAction.PERMIT, SegmentAction.BLOCK


def exposure(**policies: SegmentPolicy) -> Exposure:
    """Fully inspected from 0 on."""
    made = Exposure(policies, REFILL)
    assert made.observe(0, False, {}) == ()
    return made


def test_permit_is_the_default_and_block_blocks_from_the_start() -> None:
    made = exposure(dmz=SegmentPolicy(BLOCK))
    assert (made.action("lan"), made.action("dmz")) == (PERMIT, BLOCK)
    assert made.observe(5, True, {"lan": 10**12, "dmz": 0}) == ()
    assert made.next_due_ns() is None


def test_bytes_block_when_used_up_and_not_one_before() -> None:
    made = exposure(dmz=SegmentPolicy(max_bytes=1000))
    made.observe(SECOND, True, {"dmz": 5000})  # what was permitted before does not count
    assert made.observe(2 * SECOND, True, {"dmz": 5999}) == ()
    (decision,) = made.observe(3 * SECOND, True, {"dmz": 6000})
    assert decision == SetSegment(
        3 * SECOND,
        "dmz",
        BLOCK,
        "its exposure budget is used up (bytes)",
        {
            "used_bytes": 1000,
            "max_bytes": 1000,
            "used_ns": 2 * SECOND,
            "max_ns": None,
            "exposed_since_ns": SECOND,
            "used_up": ["bytes"],
        },
    )
    assert made.action("dmz") is BLOCK
    assert made.observe(4 * SECOND, True, {"dmz": 6000}) == ()  # told once
    assert json.loads(json.dumps(decision.as_dict()))["action"] == "block"


def test_time_blocks_to_the_nanosecond_and_says_when_it_is_due() -> None:
    made = exposure(a=SegmentPolicy(max_ns=10 * SECOND), b=SegmentPolicy(max_ns=20 * SECOND))
    made.observe(7, True, {})
    assert made.next_due_ns() == 7 + 10 * SECOND
    assert made.observe(7 + 10 * SECOND - 1, True, {}) == ()
    assert made.next_due_ns() == 7 + 10 * SECOND
    (decision,) = made.observe(7 + 10 * SECOND, True, {})
    assert (decision.segment, decision.at_ns) == ("a", 7 + 10 * SECOND)
    assert made.next_due_ns() == 7 + 20 * SECOND
    (late,) = made.observe(7 + 25 * SECOND, True, {})
    assert (late.segment, late.at_ns) == ("b", 7 + 20 * SECOND)
    assert made.next_due_ns() is None


def test_what_is_inspected_does_not_count() -> None:
    made = exposure(a=SegmentPolicy(max_bytes=100, max_ns=10 * SECOND))
    made.observe(0, True, {"a": 0})
    made.observe(9 * SECOND, False, {"a": 99})
    assert made.next_due_ns() is None
    assert made.observe(10**6 * SECOND, False, {"a": 10**6}) == ()
    assert made.action("a") is PERMIT


def test_full_inspection_permits_again_and_refills_after_its_time() -> None:
    made = exposure(a=SegmentPolicy(max_ns=10 * SECOND))
    made.observe(0, True, {})
    made.observe(10 * SECOND, True, {})
    (again,) = made.observe(20 * SECOND, False, {})
    assert (again.action, again.why) == (PERMIT, "everything is inspected again")
    (spent,) = made.observe(20 * SECOND + REFILL - 1, True, {})  # the budget is not whole yet
    assert spent.action is BLOCK
    made.observe(200 * SECOND, False, {})
    assert made.observe(200 * SECOND + REFILL, True, {}) == ()
    assert made.next_due_ns() == 210 * SECOND + REFILL


def test_a_counter_that_began_anew_counts_from_nothing() -> None:
    made = exposure(a=SegmentPolicy(max_bytes=1000))
    made.observe(0, True, {"a": 900})
    assert made.observe(1, True, {"a": 100}) == ()
    assert made.observe(2, True, {}) == ()  # not told is not begun anew
    (decision,) = made.observe(3, True, {"a": 1000})
    assert decision.evidence["used_bytes"] == 1000


steps = st.lists(
    st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 300)), min_size=1, max_size=40
)


@given(steps)
def test_never_more_than_the_budget_between_two_refills(
    given_steps: list[tuple[int, bool, int]],
) -> None:
    """Against a plain model; and looking more often changes nothing."""
    policy = SegmentPolicy(max_bytes=1000, max_ns=20 * SECOND)
    coarse, fine = exposure(a=policy), exposure(a=policy)
    now = nbytes = used_ns = used = 0
    was, full_since = False, 0
    for seconds, exposed, more in given_steps:
        for _ in range(seconds):
            now += SECOND
            if was:
                used_ns += SECOND
            fine.observe(now, was, {"a": nbytes})
        nbytes += more
        used += more if was else 0
        if exposed and not was and now - full_since >= REFILL:
            used = used_ns = 0
        if was and not exposed:
            full_since = now
        was = exposed
        coarse.observe(now, exposed, {"a": nbytes})
        fine.observe(now, exposed, {"a": nbytes})
        spent = used >= 1000 or used_ns >= 20 * SECOND
        assert coarse.action("a") is (BLOCK if exposed and spent else PERMIT)
        assert fine.action("a") is coarse.action("a")
        json.dumps(coarse.status())


def test_time_does_not_run_back() -> None:
    made = exposure(a=SegmentPolicy())
    made.observe(5, True, {})
    with pytest.raises(EngineError, match="ran backwards in the exposure: 5 → 4"):
        made.observe(4, True, {})


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (SegmentPolicy(max_bytes=0), r"exposure\.max-bytes\.dmz 0 must be above 0"),
        (SegmentPolicy(max_ns=0), r"exposure\.max-time\.dmz 0"),
        (SegmentPolicy(BLOCK, max_bytes=5), r"exposure\.action\.dmz is block"),
    ],
)
def test_policies_that_make_no_sense_are_refused(policy: SegmentPolicy, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        Exposure({"dmz": policy})


def test_a_refill_takes_time() -> None:
    with pytest.raises(SettingError, match=r"exposure\.refill 0ns"):
        Exposure({}, 0)


def test_other_policies_keep_what_was_used() -> None:
    """A larger budget permits what is left of it; a smaller one blocks at the next look."""
    made = exposure(a=SegmentPolicy(max_bytes=100), b=SegmentPolicy(max_bytes=100))
    made.observe(1, True, {})
    made.observe(2, True, {"a": 100, "b": 60})
    assert (made.action("a"), made.action("b")) == (BLOCK, PERMIT)
    policies = {"a": SegmentPolicy(max_bytes=150), "b": SegmentPolicy(max_bytes=50)}
    made.adopt(Exposure({**policies, "c": SegmentPolicy(BLOCK)}, 7))
    assert (made.action("a"), made.action("c"), made.refill_ns) == (PERMIT, BLOCK, 7)
    (decision,) = made.observe(3, True, {"a": 149, "b": 60})
    assert (decision.segment, decision.action) == ("b", BLOCK)
    (decision,) = made.observe(4, True, {"a": 150, "b": 60})
    assert decision.evidence["used_bytes"] == 150
    made.adopt(Exposure({"a": SegmentPolicy(max_bytes=120), "b": SegmentPolicy()}, 7))
    assert (made.action("a"), made.action("b")) == (BLOCK, PERMIT)  # not for an instant
    assert made.blocked(["a", "b", "c"]) == 0b101
