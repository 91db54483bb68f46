"""What the stats event, flow records and drop events say, against what was sent."""

import json
from pathlib import Path
from typing import Any

import pytest
import traffic
from traffic import Talk

import nsdata
from nsdata.bypass_table import BypassTable
from nsdata.config.settings import load_bypass_rules


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [event for event in lines if event["event_type"] == kind]


@pytest.fixture(scope="module")
def stats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    eve = tmp_path_factory.mktemp("stats") / "eve.json"
    office = Path(__file__).parents[1] / "captures" / "office.pcap"
    nsdata.replay(office, eve=eve)
    return events(eve, "stats")[0]["stats"]


def test_stats_count_what_the_capture_holds(stats: dict[str, Any]) -> None:
    # counted with tcpdump filters over the same capture: arp, vlan
    assert stats["decoder"]["ethernet"] == stats["decoder"]["pkts"] == 7687
    assert stats["decoder"]["arp"] == 4
    assert stats["decoder"]["vlan"] == 40
    assert stats["decoder"]["avg_pkt_size"] == stats["decoder"]["bytes"] // 7687
    assert stats["uptime"] == 49
    for part in (stats["tcp"]["syn"], stats["tcp"]["synack"], stats["tcp"]["rst"]):
        assert part > 0
    ended = sum(stats["flow"]["end"]["state"].values())
    assert ended == stats["flow"]["total"]
    assert stats["defrag"]["ipv4"]["fragments"] > stats["defrag"]["ipv4"]["reassembled"] > 0


def test_bytes_of_a_rebuilt_datagram_are_those_of_all_its_fragments() -> None:
    body = bytes(3000)
    datagram = traffic.ip(
        17, traffic.udp_datagram(body, "10.0.0.1", "10.0.0.2"), "10.0.0.1", "10.0.0.2"
    )
    engine = nsdata.Engine("")
    engine.inspect(traffic.fragments(datagram, 1480), ts_ns=10**18)
    engine.finish()
    (flow,) = [e for e in engine.events() if e["event_type"] == "flow"]
    assert flow["flow"]["bytes_toserver"] == 14 + 20 + 8 + 3000


def bypass(tmp_path: Path, text: str) -> BypassTable:
    path = tmp_path / "bypass.toml"
    path.write_text(text)
    return load_bypass_rules(path)


def test_a_frame_a_bypass_rule_blocks_has_a_drop_event(tmp_path: Path) -> None:
    text = '[[rule]]\nid = 1\nname = "no udp"\nprotocol = "udp"\naction = "block"\n'
    table = bypass(tmp_path, text)
    engine = nsdata.Engine("", inline=True, bypass=table.to_array())
    verdicts = engine.inspect([traffic.udp(b"x"), traffic.icmp()], ts_ns=10**18)
    assert [nsdata.Verdict(v) for v in verdicts] == [nsdata.Verdict.DROP, nsdata.Verdict.PASS]
    (drop,) = [e for e in engine.events() if e["event_type"] == "drop"]
    assert drop["drop"]["reason"] == "bypass rule"
    assert drop["pcap_cnt"] == 1


def test_drops_of_a_flow_are_the_rule_s_doing() -> None:
    talk = Talk().open().client(b"evil").client(b"more").client(b"and more")
    engine = nsdata.Engine(
        'drop tcp any any -> any any (content:"evil"; flow:established; sid:7;)', inline=True
    )
    engine.inspect(talk.frames, ts_ns=10**18)
    blocked = engine.ledger.blocked.packets
    assert blocked > 1
    assert engine.pipeline.drops_by_rule() == {7: blocked}


def test_a_forwarded_capture_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    office = Path(__file__).parents[1] / "captures" / "office.pcap"
    eve, summary = tmp_path / "eve.json", tmp_path / "summary.json"
    result = nsdata.replay(office, eve=eve, summary=summary, write_forwarded="/dev/full", loops=20)
    assert not result.ok
    (fault,) = result.summary.errors
    assert fault.kind == "OutputError" and "No space left" in fault.message
    assert json.loads(summary.read_text())["packets"] == 20 * 7687
    assert len(events(eve, "ledger")) == len(events(eve, "stats")) == 1
