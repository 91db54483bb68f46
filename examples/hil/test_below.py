"""The block below the engine: the driver alone."""

import pytest

from nsdata.offload.entry import FlowAction, FlowKey, Verdict


def test_it_is_the_block_that_was_ordered(fpga):
    identity = fpga.driver.identify()
    assert identity.built["data_w"] in (64, 512) and identity.built["max_frame"] >= 1518


@pytest.mark.capture("traffic.pcap")
def test_a_flow_in_the_table_is_bypassed(fpga, capture):
    driver = fpga.driver
    driver.identify()
    driver.load(None)
    driver.start()
    key = FlowKey.of("10.7.0.2", "10.7.0.80", 17, 5001, 8125)
    assert driver.insert_flow(key, FlowAction.BYPASS)
    frames = capture[:200]
    said = driver.inspect(frames.data, frames.offset, frames.caplen)
    assert set(said.tolist()) == {Verdict.SUSPECT, Verdict.BYPASS}
    assert driver.statistics()["bypass"] == (said == Verdict.BYPASS).sum() > 10
    assert driver.poll() is None
