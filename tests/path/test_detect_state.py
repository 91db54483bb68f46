"""What rules remember between packets, and events: flowbits, xbits, thresholds."""

from collections.abc import Sequence
from typing import Any

import pytest
import traffic
from engines import Run, fired
from traffic import ACK, Talk

UDP = traffic.udp(b"hello")
UDP6 = traffic.udp(b"hello", traffic.CLIENT6, traffic.SERVER6)
PING = traffic.icmp()
PING6 = traffic.icmp(128, 0, b"ping", 7, 1, traffic.CLIENT6, traffic.SERVER6)


def one(rule: str, *frames: bytes, **options: Any) -> int:
    """How often a rule (without sid) fires on the frames."""
    return fired(rule[:-1] + " sid:1;)", frames, **options)[1]


def web() -> Talk:
    return Talk().open().client(b"GET /foo").server(b"200 bar").close()


# ---- what rules remember ---------------------------------------------------------------


def test_flowbits_over_directions_and_flows() -> None:
    rules = """
        alert tcp any any -> any any (flow:established,to_server; content:"USER"; flowbits:set,u; flowbits:noalert; sid:1;)
        alert tcp any any -> any any (flow:established,to_client; content:"230"; flowbits:isset,u; sid:2;)
        alert tcp any any -> any any (flow:established,to_client; content:"230"; flowbits:isnotset,u; sid:3;)
        alert tcp any any -> any any (flow:established,to_server; content:"QUIT"; flowbits:unset,u; flowbits:noalert; sid:4;)
        alert tcp any any -> any any (flow:established,to_server; content:"FLIP"; flowbits:toggle,v; sid:5;)
        alert tcp any any -> any any (flow:established,to_client; content:"flap"; flowbits:isset,u|v; sid:6;)
    """  # noqa: E501
    one = Talk().open().client(b"USER a").server(b"230 in").client(b"QUIT").server(b"230 again")
    assert fired(rules, one.close().frames, inline=True) == {2: 1, 3: 1}
    other = Talk(sport=1025, frames=list(one.frames)).open().server(b"230 x")
    assert fired(rules, other.frames, inline=True) == {2: 1, 3: 2}
    flip = Talk().open().client(b"FLIP").server(b"flap").client(b"FLIP").server(b"flap")
    assert fired(rules, flip.frames, inline=True) == {5: 2, 6: 1}


def test_flowints_count() -> None:
    rules = """
        alert udp any any -> any any (flowint:n,notset; flowint:n,=,1; noalert; sid:1;)
        alert udp any any -> any any (flowint:n,isset; flowint:n,+,1; noalert; sid:2;)
        alert udp any any -> any any (flowint:n,==,3; sid:3;)
        alert udp any any -> any any (flowint:n,>=,4; sid:4;)
    """
    run = Run(rules.replace("notset", "isnotset")).feed([UDP] * 5).finish()
    fired_at = {sid: [frame for frame, s in run.alerts() if s == sid] for sid in (3, 4)}
    assert len(fired_at[3]) == 1 and fired_at[4]
    assert fired_at[4][0] == fired_at[3][0] + 1


def test_xbits_are_of_hosts_and_expire() -> None:
    rules = """
        alert udp any any -> any 1 (xbits:set,bad,track ip_src,expire 10; noalert; sid:1;)
        alert udp any any -> any 2 (xbits:isset,bad,track ip_src; sid:2;)
        alert udp any any -> any 3 (xbits:unset,bad,track ip_src; noalert; sid:3;)
        alert udp any any -> any 4 (xbits:isset,bad,track ip_dst; sid:4;)
    """

    def probe(port: int, src: str = traffic.CLIENT, dst: str = traffic.SERVER) -> bytes:
        return traffic.udp(b"", src, dst, dport=port)

    other = probe(2, "10.0.0.9")
    frames = [probe(2), probe(1), probe(2), other, probe(4, "10.0.0.9", traffic.CLIENT)]
    assert Run(rules).feed(frames).alerts() == [(3, 2), (5, 4)]
    at = [traffic.START_NS + s * traffic.SECOND for s in (0, 9, 11)]
    assert Run(rules).feed([probe(1), probe(2), probe(2)], at).alerts() == [(2, 2)]
    assert Run(rules).feed([probe(1), probe(3), probe(2)]).alerts() == []


def seconds(*values: float) -> list[int]:
    return [traffic.START_NS + int(s * traffic.SECOND) for s in values]


@pytest.mark.parametrize(
    ("option", "times", "alerts"),
    [
        ("threshold:type limit,track by_src,count 2,seconds 10;", range(5), [1, 2]),
        ("threshold:type limit,track by_src,count 1,seconds 2;", range(6), [1, 4]),
        ("threshold:type threshold,track by_src,count 3,seconds 100;", range(7), [3, 6]),
        ("threshold:type threshold,track by_src,count 3,seconds 1;", range(7), []),
        ("threshold:type both,track by_src,count 2,seconds 100;", range(6), [2]),
        ("threshold:type both,track by_src,count 2,seconds 3;", range(8), [2, 6]),
        ("detection_filter:track by_src,count 2,seconds 100;", range(5), [3, 4, 5]),
        ("detection_filter:track by_dst,count 2,seconds 1;", range(5), []),
        ("threshold:type limit,track by_flow,count 1,seconds 100;", range(3), [1]),
        ("threshold:type limit,track by_rule,count 1,seconds 100;", range(3), [1]),
        ("threshold:type limit,track by_both,count 1,seconds 100;", range(3), [1]),
        ("threshold:type backoff,track by_flow,count 1,multiplier 10;", range(11), [1, 10]),
    ],
)
def test_thresholds(option: str, times: Sequence[int], alerts: list[int]) -> None:
    rule = f'alert udp any any -> any any (content:"hello"; {option} sid:1;)'
    run = Run(rule).feed([UDP] * len(times), seconds(*times)).finish()
    assert [frame for frame, _ in run.alerts()] == alerts


def test_thresholds_are_kept_per_tracked_host() -> None:
    rule = (
        'alert udp any any -> any any (content:"hello"; '
        "threshold:type limit,track by_src,count 1,seconds 60; sid:1;)"
    )
    frames = [UDP, traffic.udp(b"hello", "10.0.0.7"), UDP, traffic.udp(b"hello", "10.0.0.7")]
    assert [frame for frame, _ in Run(rule).feed(frames).alerts()] == [1, 2]


# ---- events ----------------------------------------------------------------------------


def test_decode_events() -> None:
    bad = traffic.frame(b"\x45\0\0\x10" + bytes(16))
    rules = """
        alert pkthdr any any -> any any (decode-event:ipv4.iplen_smaller_than_hlen; sid:1;)
        alert pkthdr any any -> any any (decode-event:ipv4.trunc_pkt; sid:2;)
        alert udp any any -> any any (decode-event:udp.hlen_invalid; sid:3;)
    """
    assert fired(rules, [bad, UDP]) == {1: 1}
    assert fired(rules, [traffic.eth(0x0800, b"E")]) == {}


def test_stream_events() -> None:
    rule = "alert tcp any any -> any any (stream-event:pkt_invalid_ack; sid:1;)"
    talk = Talk().open()
    talk.next[1] += 100000
    talk.send(0, ACK)
    assert fired(rule, talk.frames)[1] == 1
    assert fired(rule, web().frames)[1] == 0
