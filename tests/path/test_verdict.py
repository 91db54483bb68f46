"""verdict: what rules do to packets and flows, in which order, and how often they say so."""

import pytest
import traffic
from engines import BLOCKED, DROP, VERDICT_DROP, VERDICT_PASS, Run
from traffic import Talk

from nsdata import Verdict

PASS, DROPPED, DROP_FLOW, REJECT, BYPASS = (
    Verdict.PASS, Verdict.DROP, Verdict.DROP_FLOW, Verdict.REJECT, Verdict.BYPASS_FLOW,
)  # fmt: skip
UDP = traffic.udp(b"hello")
WHY_INSPECTED, WHY_FLOW_BYPASS, WHY_FLOW_PASS = 0, 3, 4
WHY_RULE_DROP, WHY_RULE_REJECT, WHY_FLOW_DROP = 6, 7, 8


def why(run: Run) -> dict[int, int]:
    return {number: n for number, n in enumerate(run.engine.counts()[2]) if n}


@pytest.mark.parametrize(
    ("action", "verdict", "reason"),
    [
        ("alert", PASS, WHY_INSPECTED),
        ("drop", DROPPED, WHY_RULE_DROP),
        ("reject", REJECT, WHY_RULE_REJECT),
        ("rejectsrc", REJECT, WHY_RULE_REJECT),
        ("rejectdst", REJECT, WHY_RULE_REJECT),
        ("rejectboth", REJECT, WHY_RULE_REJECT),
        ("pass", PASS, WHY_INSPECTED),
    ],
)
def test_actions_on_a_packet(action: str, verdict: int, reason: int) -> None:
    rule = f'{action} udp any any -> any 5000 (content:"hello"; sid:1;)'
    run = Run(rule, inline=True).feed([UDP, traffic.udp(b"other")]).finish()
    assert run.verdicts == [verdict, PASS]
    assert why(run) == ({reason: 1, WHY_INSPECTED: 1} if reason else {WHY_INSPECTED: 2})
    assert run.fired()[1] == (0 if action == "pass" else 1)
    drops = [(e.frame, e.sid) for e in run.of(DROP)]
    assert drops == ([(1, 1)] if verdict else [])


def test_without_inline_nothing_is_dropped() -> None:
    rule = 'drop udp any any -> any any (content:"hello"; sid:1;)'
    run = Run(rule).feed([UDP, UDP]).finish()
    assert run.verdicts == [PASS, PASS] and run.of(DROP) == []
    assert run.fired() == {1: 2} and why(run) == {WHY_INSPECTED: 2}


ALL = """
    pass udp any any -> any any (content:"hello"; sid:1;)
    drop udp any any -> any any (content:"hello"; sid:2;)
    reject udp any any -> any any (content:"hello"; sid:3;)
    alert udp any any -> any any (content:"hello"; sid:4;)
"""


def without(*sids: int) -> str:
    """ALL without these rules."""
    gone = [f"sid:{sid};" for sid in sids]
    return "\n".join(line for line in ALL.splitlines() if not any(g in line for g in gone))


def test_order_is_pass_drop_reject_alert() -> None:
    run = Run(ALL, inline=True).feed([UDP]).finish()
    assert run.verdicts == [PASS] and run.fired() == {}
    run = Run(without(1), inline=True).feed([UDP]).finish()
    assert run.alerts() == [(1, 2), (1, 3), (1, 4)]
    assert run.of(DROP)[0].sid == 2
    run = Run(without(1, 2), inline=True).feed([UDP]).finish()
    assert run.verdicts == [REJECT] and run.alerts() == [(1, 3), (1, 4)]
    run = Run(without(1, 2, 3), inline=True).feed([UDP]).finish()
    assert run.verdicts == [PASS] and run.alerts() == [(1, 4)]


def test_order_can_be_set() -> None:
    from nsdata import LoadedRules, Settings, build_engine
    from nsdata.rules.ruleset import load_text

    settings = Settings.load(sets=["action-order=alert,drop,reject,pass"])
    built = LoadedRules.build(load_text(ALL, settings=settings), settings)
    engine = build_engine(built, settings, inline=True)
    run = Run(ALL, engine=engine)
    run.sids = [4, 2, 3, 1]
    run.feed([UDP]).finish()
    assert [sid for _, sid in run.alerts()] == [4, 2, 3]


def test_alerts_before_a_drop_show_the_verdict_of_the_packet() -> None:
    run = Run(without(1), inline=True).feed([UDP]).finish()
    flags = {event.sid: event.flags for event in run.events if event.kind == 0}
    assert flags[2] & BLOCKED and not flags[4] & BLOCKED
    assert all(flag & VERDICT_DROP for flag in flags.values())


def test_a_pass_rule_that_alerts() -> None:
    rule = 'pass udp any any -> any any (content:"hello"; alert; sid:1;)'
    run = Run(rule + "\n" + without(1), inline=True).feed([UDP]).finish()
    assert run.alerts() == [(1, 1)] and run.verdicts == [PASS]
    assert run.events[0].flags & VERDICT_PASS


def test_a_drop_on_addresses_alone_falls_on_the_flow() -> None:
    run = Run("drop udp 10.0.0.1 any -> 10.0.0.2 any (sid:1;)", inline=True)
    back = traffic.udp(b"", traffic.SERVER, traffic.CLIENT, 5000, 1024)
    run.feed([UDP, UDP, back, traffic.udp(b"", "10.0.0.9")]).finish()
    assert run.verdicts == [DROP_FLOW, DROPPED, DROPPED, PASS]
    assert run.fired() == {1: 1}
    assert why(run) == {WHY_RULE_DROP: 1, WHY_FLOW_DROP: 2, WHY_INSPECTED: 1}
    assert [(e.frame, e.why) for e in run.of(DROP)] == [
        (1, WHY_RULE_DROP), (2, WHY_FLOW_DROP), (3, WHY_FLOW_DROP),
    ]  # fmt: skip


def test_a_drop_on_the_stream_falls_on_the_flow() -> None:
    rule = 'drop tcp any any -> any any (flow:established; content:"foobar"; sid:1;)'
    talk = Talk().open().client(b"foo", b"bar").client(b"later")
    run = Run(rule, inline=True).feed(talk.frames).finish()
    assert run.verdicts == [0, 0, 0, 0, 0, DROP_FLOW, DROPPED, DROPPED, DROPPED]
    # packets of the dropped flow are the rule's doing too
    assert run.engine.rule_counts()["dropped"].tolist() == [4]


def test_a_drop_on_a_packet_property_falls_on_that_packet_alone() -> None:
    rule = 'drop udp any any -> any any (dsize:5; content:"hello"; sid:1;)'
    run = Run(rule, inline=True).feed([UDP, traffic.udp(b"hello!"), UDP]).finish()
    assert run.verdicts == [DROPPED, PASS, DROPPED]


def test_only_the_first_drop_of_a_flow_is_logged_when_asked() -> None:
    rule = "drop udp 10.0.0.1 any -> 10.0.0.2 any (sid:1;)"
    run = Run(rule, ["drop-log.flows=start"], inline=True).feed([UDP] * 3).finish()
    assert [e.frame for e in run.of(DROP)] == [1]
    assert why(run) == {WHY_RULE_DROP: 1, WHY_FLOW_DROP: 2}


def test_a_pass_on_addresses_alone_falls_on_the_flow() -> None:
    rules = "pass udp 10.0.0.1 any -> any any (sid:1;)\n" + without(1)
    run = Run(rules, inline=True).feed([UDP, UDP]).finish()
    assert run.verdicts == [PASS, PASS] and run.fired() == {}
    assert why(run) == {WHY_INSPECTED: 1, WHY_FLOW_PASS: 1}


def test_noalert_acts_in_silence() -> None:
    rule = 'drop udp any any -> any any (content:"hello"; noalert; sid:1;)'
    run = Run(rule, inline=True).feed([UDP]).finish()
    assert run.verdicts == [DROPPED] and run.fired() == {}
    assert run.engine.stats()["detect"]["alerts_suppressed"] == 1


def test_bypass_ends_the_inspection_of_the_flow() -> None:
    rules = """
        alert tcp any any -> any any (flow:established; content:"bulk"; bypass; sid:1;)
        alert tcp any any -> any any (flow:established; content:"evil"; sid:2;)
    """
    talk = Talk().open().client(b"bulk").client(b"evil")
    run = Run(rules, inline=True).feed(talk.frames).finish()
    assert run.alerts() == [(4, 1)]
    assert run.verdicts[3] == BYPASS and run.verdicts[4:] == [PASS] * 3
    assert why(run) == {WHY_INSPECTED: 4, WHY_FLOW_BYPASS: 3}
    other = Talk(sport=2000).open().client(b"evil")
    assert run.feed(other.frames).finish().fired() == {1: 1, 2: 1}


def test_at_most_so_many_alerts_per_packet() -> None:
    rules = "\n".join(
        f'alert udp any any -> any any (content:"hello"; sid:{n};)' for n in range(1, 31)
    )
    run = Run(rules).feed([UDP]).finish()
    assert [sid for _, sid in run.alerts()] == list(range(1, 16))
    assert run.engine.stats()["detect"]["alerts_discarded"] == 15
    run = Run(rules, ["packet-alert-max=3"]).feed([UDP]).finish()
    assert [sid for _, sid in run.alerts()] == [1, 2, 3]
    # what is not told still acts
    drops = rules.replace("alert udp", "drop udp", 30).replace("sid:1;", "priority:255; sid:1;")
    run = Run(rules + "\n" + drops.splitlines()[0].replace("sid:1;", "sid:99;"),
              ["packet-alert-max=1"], inline=True).feed([UDP])  # fmt: skip
    assert run.verdicts == [DROPPED]


def test_priority_orders_rules_of_one_action() -> None:
    rules = """
        alert udp any any -> any any (content:"hello"; priority:3; sid:1;)
        alert udp any any -> any any (content:"hello"; priority:1; sid:2;)
        alert udp any any -> any any (content:"hello"; priority:2; sid:3;)
    """
    assert [sid for _, sid in Run(rules).feed([UDP]).alerts()] == [2, 3, 1]


def test_thresholds_hold_back_the_alert_and_limit_holds_back_no_drop() -> None:
    limit = "threshold:type limit,track by_src,count 1,seconds 60;"
    rule = f'drop udp any any -> any any (content:"hello"; {limit} sid:1;)'
    run = Run(rule, inline=True).feed([UDP] * 3).finish()
    assert run.verdicts == [DROPPED] * 3 and run.fired() == {1: 1}
    rate = "detection_filter:track by_src,count 2,seconds 60;"
    rule = f'drop udp any any -> any any (content:"hello"; {rate} sid:1;)'
    run = Run(rule, inline=True).feed([UDP] * 4).finish()
    assert run.verdicts == [PASS, PASS, DROPPED, DROPPED] and run.fired() == {1: 2}


def test_midstream_policy_inline_and_ids() -> None:
    frames = Talk().client(b"foo").frames
    rules = "alert tcp any any -> any any (ttl:64; sid:1;)"
    run = Run(rules, inline=True).feed(frames).finish()
    assert run.fired() == {} and set(run.verdicts) <= {DROPPED, DROP_FLOW}
    run = Run(rules, ["stream.midstream-policy=pass-flow"], inline=True).feed(frames).finish()
    assert run.verdicts == [PASS, PASS]
    run = Run(rules, ["exception-policy=ignore"], inline=True).feed(frames).finish()
    assert run.verdicts == [PASS, PASS] and run.fired() == {1: 2}
    assert Run(rules).feed(frames).finish().verdicts == [PASS, PASS]


def test_rule_counts_are_by_source_rule() -> None:
    run = Run(without(1, 3), inline=True).feed([UDP, UDP]).finish()
    counts = {name: array.tolist() for name, array in run.engine.rule_counts().items()}
    assert counts == {"matched": [2, 2], "alerted": [2, 2], "dropped": [2, 0]}
