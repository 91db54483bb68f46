"""A transport that dies: what is said, which frames are accounted for, and nothing is left."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from offload.blocks import PARAMETERS, bench, card, needed

from nsdata.errors import BusFault, BusTimeout, FpgaError, TransportDied
from nsdata.offload import bridge
from nsdata.offload import registers as reg
from nsdata.offload.bar import EmulatedBar
from nsdata.offload.rtl import sources
from nsdata.offload.transport import open_transport
from nsdata.offload.transport_cocotb import CocotbTransport
from nsdata.offload.transport_pcie import PcieTransport


def children(pid: int) -> list[int]:
    """Every process below `pid`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(rest[1]) == pid:
            found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


def gone(pids: list[int], seconds: float = 15) -> bool:
    """Whether all of them end in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        alive = []
        for pid in pids:
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state != "Z":
                alive.append(pid)
        if not alive:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture
def simulated() -> Iterator[CocotbTransport]:
    """A bench in a simulator of its own."""
    needed("cocotb")
    transport = open_transport(f"cocotb:64,{PARAMETERS}")
    assert isinstance(transport, CocotbTransport)
    yield transport
    transport.close()


def test_a_killed_simulator_is_said_with_its_log(simulated: CocotbTransport) -> None:
    one = bench(simulated)
    one.up()
    assert simulated.process is not None
    pids = children(simulated.process.pid)
    frames = one.frames(3000)
    wanted = one.wanted(frames)
    killer = threading.Timer(0.7, os.kill, (pids[-1], signal.SIGKILL))
    killer.start()
    with pytest.raises(TransportDied, match="the simulator closed the socket") as raised:
        one.driver.inspect(*frames)
    killer.join()
    error = raised.value
    known = error.evidence["accounted"]
    assert 0 < known < error.evidence["frames"] == 3000 and len(error.verdict) == known
    assert error.verdict.tolist() == wanted[:known].tolist()
    assert f"of 3000 frames, {known} are accounted for, frames {known} to 2999 are not" in str(
        error
    )
    assert "the end of its log" in str(error) and error.evidence["doing"] == "inspect"
    with pytest.raises(TransportDied):
        one.driver.poll()
    one.driver.close()
    assert gone(pids)


def test_a_simulator_ends_with_its_client() -> None:
    needed("cocotb")
    code = (
        "import sys, time\n"
        "from nsdata.offload.transport import open_transport\n"
        "t = open_transport(sys.argv[1])\n"
        "print(t.process.pid, t._place, flush=True)\n"
        "time.sleep(600)\n"
    )
    client = subprocess.Popen(
        [sys.executable, "-c", code, f"cocotb:64,{PARAMETERS}"], stdout=subprocess.PIPE, text=True,
        cwd=sources.ROOT,
    )  # fmt: skip
    assert client.stdout is not None
    number, _, place = client.stdout.readline().strip().partition(" ")
    pid = int(number)
    below = [pid, *children(pid)]
    assert len(below) > 1
    assert "nsdata-cocotb-" in place and Path(place, "bridge.log").is_file()
    client.kill()
    client.wait()
    assert gone(below)
    assert not Path(place).exists()


def test_a_bench_that_does_not_answer_is_a_time_out() -> None:
    """A socket behind which nobody works: the time-out, and which frames are known."""
    here, there = socket.socketpair()
    with there:
        bridge.send(there, bridge.Answer.DONE, (1).to_bytes(4, "little") + bytes([64, 0, 0, 0]))
        transport = CocotbTransport(here, timeout=0.3)
        bridge.send(there, bridge.Answer.PROGRESS, b"\2\1")
        data = np.zeros(180, np.uint8)
        offset = np.arange(0, 180, 60).astype(np.uint64)
        with pytest.raises(TransportDied, match="does not answer; of 3 frames, 2 are") as raised:
            transport.exchange(data, offset, np.full(3, 60, np.uint32))
        assert raised.value.verdict.tolist() == [2, 1]
        transport.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (bridge.Answer.FAULT, BusFault), (bridge.Answer.TIMEOUT, BusTimeout),
        (bridge.Answer.BREACH, TransportDied),
    ],
)  # fmt: skip
def test_the_answers_of_a_bench(answer: bridge.Answer, kind: type[FpgaError]) -> None:
    here, there = socket.socketpair()
    with there:
        bridge.send(there, bridge.Answer.DONE, (1).to_bytes(4, "little") + bytes([64, 0, 0, 0]))
        transport = CocotbTransport(here)
        bridge.send(there, answer, b"because")
        with pytest.raises(kind, match="because"):
            transport.read(0)
        transport.close()


def test_a_card_whose_process_is_killed() -> None:
    needed("pcie")
    with card() as (place, process):
        transport = open_transport(f"pcie:{place}")
        assert isinstance(transport, PcieTransport)
        one = bench(transport)
        one.up()
        frames = one.frames(4000)
        wanted = one.wanted(frames)
        killer = threading.Timer(0.4, process.kill)
        killer.start()
        with pytest.raises(TransportDied, match="has ended; of 4000 frames") as raised:
            one.driver.inspect(*frames)
        killer.join()
        known = raised.value.evidence["accounted"]
        assert 0 < known < 4000
        assert raised.value.verdict.tolist() == wanted[:known].tolist()
        with pytest.raises(TransportDied, match="has ended"):
            one.driver.poll()
        one.driver.close()


def test_the_emulated_bar_keeps_order_and_strobes() -> None:
    """Stores nobody waits for are done in order, each once, and a load comes behind them."""
    needed("pcie")
    with card() as (place, process):
        bar = EmulatedBar(place / "resource0", timeout=5)
        for value in range(1500):  # more than the ring holds
            bar.store(reg.SCRATCH.address, value)
        assert bar.load(reg.SCRATCH.address) == 1499
        generation = bar.load(reg.FLOW_STATUS.address) >> 8
        for _ in range(7):
            bar.store(reg.FLOW_CMD.address, reg.FLOW_CMD.encode(flush=1))
        assert bar.load(reg.FLOW_STATUS.address) >> 8 == generation + 7
        bar.store(0xFFC, 1)  # refused, and nobody hears of it
        with pytest.raises(BusFault):
            bar.load(0xFFC)
        process.send_signal(signal.SIGSTOP)
        bar.timeout = 0.3
        with pytest.raises(BusTimeout, match=r"read of 0x000: no answer in 0\.3 s"):
            bar.load(0)
        process.send_signal(signal.SIGCONT)
        bar.close()
