"""A second driver on one block: kept out of a card, and noticed where it cannot be kept out."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import traffic
from offload.blocks import Bench, bench, card, needed, opened

from nsdata import Engine
from nsdata.errors import FpgaError, OffloadError
from nsdata.fallback.reasons import Reason
from nsdata.offload import registers as reg
from nsdata.offload import sequences as seq
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.driver import Driver
from nsdata.offload.entry import FlowAction, FlowKey
from nsdata.offload.owner import holder
from nsdata.offload.transport import open_transport

KEY = FlowKey.of("10.9.8.7", "10.9.8.6", 17, 53, 5353)


@pytest.fixture(scope="module", params=["model", "rtl"])
def made(request: pytest.FixtureRequest) -> Iterator[Bench]:
    needed(request.param)
    with opened(request.param) as transport:
        yield bench(transport)


def test_ones_own_changes_are_none(made: Bench) -> None:
    made.up()
    driver = made.driver
    driver.beat()
    for change in (
        lambda: driver.insert_flow(KEY, FlowAction.BLOCK),
        lambda: driver.remove_flow(KEY),
        driver.flush_flows,
        lambda: driver.load(None),
        lambda: driver.load(made.image),
        driver.recover,
    ):
        change()
        driver.beat()


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("load", "the prefilter's table was changed .*: generation 0x2, and 0x1"),
        ("begin", "the prefilter's table was changed .*: valid 0x0, and 0x1"),
        ("flush", "the flow table was changed .*: generation 0x1, and 0x0"),
        ("insert", "the flow table was changed .*: signature"),
    ],
)
def test_a_table_changed_by_another_is_an_error(made: Bench, what: str, says: str) -> None:
    made.up()
    made.driver.beat()
    other = Driver(made.transport)
    other.identify()
    if what == "load":
        other.load(made.image, made.flows.items())
    elif what == "begin":
        other.run(seq.command(reg.PF_CMD, "load_begin"))
    elif what == "flush":
        other.run(seq.command(reg.FLOW_CMD, "flush"))
    else:
        with pytest.raises(FpgaError, match="does not hold what was loaded"):
            other.insert_flow(KEY, FlowAction.BYPASS)
    made.transport.wait(3000)
    with pytest.raises(FpgaError, match=says) as raised:
        made.driver.beat()
    assert raised.value.evidence["class"] == "TABLE_CHANGED"
    assert raised.value.evidence["doing"] == "beat"
    assert made.driver.recover()
    made.driver.beat()


def test_it_leads_to_the_fallback() -> None:
    rules = 'drop udp any any -> any any (content:"needle"; sid:1;)'
    frames = [traffic.udp(b"needle"), traffic.udp(b"calm")] * 200
    with Engine(rules, inline=True, offload="model:64") as engine:
        assert engine.inspect(frames, traffic.START_NS).tolist() == [1, 0] * 200
        session = engine.pipeline.offload
        assert session is not None and session.active
        block = session.offload
        assert isinstance(block, DrivenOffload)
        other = Driver(block.driver.transport)
        other.identify()
        other.load(None)
        engine.inspect(frames, traffic.START_NS + 1)
        assert not session.active and engine.fallback()[-1].reason is Reason.FPGA
        assert session.last["class"] == "TABLE_CHANGED"


# --- a card -----------------------------------------------------------------------------


def test_a_card_has_one_driver() -> None:
    needed("pcie")
    with card() as (place, _):
        first = open_transport(f"pcie:{place}")
        who = rf"resource0 is in use by process {os.getpid()} \(.+\): a block has one driver"
        with pytest.raises(OffloadError, match=who):
            open_transport(f"pcie:{place}")
        first.write(0x01C, 7)
        assert first.read(0x01C) == 7  # the refused one has disturbed nothing
        first.close()
        with open_transport_of(place) as process:
            assert process.stdout is not None and process.stdout.readline() == "open\n"
            with pytest.raises(OffloadError, match=f"in use by process {process.pid} "):
                open_transport(f"pcie:{place}")
            process.kill()
            process.wait()
        open_transport(f"pcie:{place}").close()  # the lock is gone with the process


def open_transport_of(place: Path) -> subprocess.Popen[str]:
    """A process that has the card open."""
    code = (
        "import sys, time; from nsdata.offload.transport import open_transport\n"
        "held = open_transport(sys.argv[1]); print('open', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, f"pcie:{place}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_card_that_does_not_open_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "resource0").write_bytes(bytes(0x4000))
    with pytest.raises(OffloadError, match="h2c"):
        open_transport(f"pcie:{tmp_path}")
    with open(tmp_path / "resource0", "rb") as file:
        assert holder(file.fileno()) == ""
