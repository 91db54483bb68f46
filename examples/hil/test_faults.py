"""Every way to fail leads to fallback with its evidence; nothing is lost; a restore works."""

import pytest

pytestmark = [
    pytest.mark.rules("hil.rules", inline=True),
    pytest.mark.capture("traffic.pcap"),
]
FPGA = "FPGA reported error"


def restored(engine, frames):
    """Back to normal: the block was brought back, and finds what it found before."""
    engine.restore()
    engine.inspect_batch(frames)
    engine.assert_inspecting()
    assert engine.offload()["recoveries"] == 1
    engine.assert_ledger_balanced()


@pytest.mark.parametrize("error", ["SEU", "ECC_UE", "PARITY", "LATE", "STALL", "HEARTBEAT"])
def test_an_error_of_the_block(engine, capture, fpga, error):
    engine.inspect_batch(capture[:128])
    with fpga.injected(error):
        engine.inspect_batch(capture[128:320])
    evidence = engine.assert_fallback(reason=FPGA, within_frames=64, error=error)
    record = evidence["given"]["fpga"]
    assert record["counters"][error] >= 1 and record["registers"]["id"] == "0x5444534e"

    # In fallback everything is permitted, also what the rules would block.
    assert not engine.inspect_batch(capture[320:400]).any()
    engine.assert_ledger_balanced()
    restored(engine, capture[400:])
    assert engine.alerts()[1000002] >= 6


def test_a_table_that_is_not_what_was_loaded(engine, capture, fpga):
    """Found by the block's scrubber, which takes a while to come round; no frame need come."""
    engine.inspect_batch(capture[:128])
    with fpga.injected("TABLE_CRC"):
        fpga.transport.wait(60_000)
        engine.idle()
    engine.assert_fallback(FPGA, within_frames=0, error="TABLE_CRC")
    restored(engine, capture[128:])


def test_a_corrected_error_is_only_counted(engine, capture, fpga):
    with fpga.injected("ECC_CE"):
        engine.inspect_batch(capture[:])
    engine.assert_inspecting()
    assert engine.offload()["block_errors"] == {"ECC_CE": 1}


def test_a_host_that_has_gone_silent(engine, capture, fpga):
    engine.inspect_batch(capture[:128])
    with fpga.without_heartbeat():
        engine.inspect_batch(capture[128:256])
    engine.assert_fallback(FPGA, within_frames=64, error="HEARTBEAT")
    restored(engine, capture[256:])


def test_a_way_to_the_block_that_dies(engine, capture, fpga):
    engine.inspect_batch(capture[:128])
    with fpga.killed():
        engine.inspect_batch(capture[128:256])
    evidence = engine.assert_fallback(FPGA, within_frames=64, error="TransportDied")
    assert evidence["given"]["fpga"]["transport"] == fpga.kind
    assert engine.ledger.lost.packets == 0
    restored(engine, capture[256:])


def test_an_upset_that_lasts(engine, capture, fpga):
    engine.inspect_batch(capture[:128])
    with fpga.pin_high(seu=True):
        engine.inspect_batch(capture[128:256])
        engine.assert_fallback(FPGA, within_frames=64, error="SEU")
        engine.restore()
        engine.inspect_batch(capture[256:320])
        engine.assert_fallback(FPGA)  # restored, and back again: the pin is still high
    engine.restore()
    engine.inspect_batch(capture[320:])
    engine.assert_inspecting()
    engine.assert_ledger_balanced()


@pytest.mark.settings("offload.on-failure=software")
def test_going_on_without_the_block(engine, capture, fpga):
    with fpga.injected("SEU"):
        engine.inspect_batch(capture[:])
    assert engine.state == "normal" and not engine.offload()["active"]
    assert engine.ledger.inspected.packets == len(capture) - 16
    assert engine.alerts() == {1000001: 1, 1000002: 16}
