"""Faults a review found once: each must stay away."""

import numpy as np
import traffic
from engines import Run
from traffic import ACK, PSH, Talk

import nsdata

START = 10**18


def test_a_tiny_fragment_that_is_dropped_is_not_read_past_its_end() -> None:
    tiny = traffic.frame(traffic.ip(17, b"z", "10.0.0.1", "10.0.0.2", ident=9, frag=3))
    engine = nsdata.Engine("drop ip 10.0.0.1 any -> any any (sid:9;)", inline=True)
    engine.inspect([tiny], ts_ns=START)
    (drop,) = [e for e in engine.events() if e["event_type"] == "drop"]
    assert drop["drop"]["udplen"] == 0  # nothing is read behind the fragment


def test_rules_with_a_direction_see_what_is_left_at_the_end_of_a_flow() -> None:
    talk = Talk().open()
    talk.send(1, PSH | ACK, b"evilevil")  # never acknowledged
    rule = 'alert tcp any any -> any any (flow:%s; content:"evilevil"; sid:1;)'
    assert Run(rule % "to_client").feed(talk.frames).finish().fired() == {1: 1}
    assert Run(rule % "to_server").feed(talk.frames).finish().fired() == {}


def test_a_pcre_that_reaches_its_limit_says_nothing_either_way() -> None:
    bomb = 'pcre:%s"/^x(a|aa)+$|^x.*!/s"'
    body = b"x" + b"a" * 60 + b"!"
    for negated in ("", "!"):
        engine = nsdata.Engine(f"alert udp any any -> any any ({bomb % negated}; sid:1;)")
        engine.inspect([traffic.udp(body)], ts_ns=START)
        assert [e for e in engine.events() if e["event_type"] == "alert"] == []
        assert engine.pipeline.engine.stats()["detect"]["inspection_limit_reached"] == 1


def test_what_matches_at_the_end_of_a_flow_drops_nothing() -> None:
    talk = Talk().open()
    frames = talk.frames
    # behind a hole: inspected when the flow ends
    frames.append(talk.segment(0, PSH | ACK, b"evilevil", talk.next[0] + 5))
    engine = nsdata.Engine(
        'drop tcp any any -> any any (flow:only_stream; content:"evilevil"; sid:1;)', inline=True
    )
    engine.inspect(frames, ts_ns=START)
    engine.finish()
    blocked = engine.ledger.blocked.packets
    assert sum(engine.pipeline.drops_by_rule().values()) == blocked == 0
    alerts = [e for e in engine.events() if e["event_type"] == "alert"]
    assert [a["alert"]["action"] for a in alerts] == ["allowed"]


def test_alerts_of_a_rebuilt_datagram_share_its_bytes() -> None:
    rules = "\n".join(
        f'alert udp any any -> any any (content:"evil"; sid:{sid};)' for sid in range(1, 15)
    )
    body = b"evil" + bytes(8000)
    datagram = traffic.ip(
        17, traffic.udp_datagram(body, "10.0.0.1", "10.0.0.2"), "10.0.0.1", "10.0.0.2"
    )
    engine = nsdata.Engine(rules)
    engine.inspect(traffic.fragments(datagram, 1480), ts_ns=START)
    alerts = [e for e in engine.events() if e["event_type"] == "alert"]
    assert len(alerts) == 14 and len({a["packet"] for a in alerts}) == 1
    assert engine.pipeline.engine.stats()["records"]["clipped"] == 0


def test_two_frames_in_one_buffer_are_two_packets() -> None:
    engine = nsdata.Engine('alert udp any any -> any any (content:"x"; sid:1;)')
    for body in (b"x1", b"x2"):
        engine.inspect([traffic.udp(body)], ts_ns=np.array([START], np.uint64))
    alerts = [e for e in engine.events() if e["event_type"] == "alert"]
    assert len({a["packet"] for a in alerts}) == 2
