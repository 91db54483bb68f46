"""Without a fault: the block spares work, and the alerts are those of the engine alone."""

from pathlib import Path

import pytest

import nsdata

pytestmark = [
    pytest.mark.rules("hil.rules", inline=True),
    pytest.mark.capture("traffic.pcap"),
    pytest.mark.settings("offload.check-share=0.2"),
]


def test_alerts_and_verdicts(engine, capture):
    verdicts = engine.inspect_batch(capture[:])
    assert engine.alerts() == {1000001: 1, 1000002: 16}
    assert (verdicts[39::40] == nsdata.Verdict.DROP).all()
    engine.assert_inspecting()
    engine.assert_ledger_balanced()


def test_the_block_changes_nothing_but_work(engine, capture):
    alone = nsdata.Engine(Path(__file__).with_name("hil.rules"), inline=True)
    assert (engine.inspect_batch(capture[:]) == alone.inspect_batch(capture[:])).all()
    assert engine.ledger == alone.ledger
    figures = engine.offload()
    assert figures["spared_share"] > 0.9  # nearly all of it is calm
    assert figures["checks"] > 0 and figures["disagreements"] == 0


def test_rules_change_while_traffic_flows(engine, capture):
    engine.inspect_batch(capture[:320])
    engine.reload('alert udp any any -> any 53 (content:"office"; sid:1;)')
    engine.inspect_batch(capture[320:])
    assert engine.alerts()[1] > 80
    engine.assert_inspecting()
    engine.assert_ledger_balanced()

