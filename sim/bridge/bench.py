"""The bench behind nsdata's cocotb transport: registers by AXI4-Lite, frames by sim.axis.

A bench of your own calls `serve` in a cocotb test, with whatever it starts around it:

    @cocotb.test()
    async def my_bench(dut):
        bench = BridgeTB(dut)
        cocotb.start_soon(my_checks(dut))
        await serve(bench)
"""

import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import First, RisingEdge, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from nsdata.offload import registers as reg
from nsdata.offload.bridge import PROTOCOL, Answer, Ask, receive, send
from nsdata.offload.entry import Verdict
from sim.axis import AxisSink, AxisSource, ProtocolError
from sim.tb import PERIOD_PS, TB

BUS_LIMIT = 1000  # cycles for a register access
QUIET = 4096  # cycles without a beat after which the block holds nothing
HUSH = 64  # ... and after which it is worth asking it
AT_ONCE = 64  # frames queued in the source at a time
ARMED_AND_DRAINED = (7 | 1 << 5, reg.State.ARMED | 1 << 5)


class Refused(Exception):
    """SLVERR or DECERR."""


class Silent(Exception):
    """No answer in time."""


class BridgeTB(TB):
    """Source, sink, an AXI4-Lite master, pins."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.pins(0)
        self.source = AxisSource(dut, "s_axis")
        self.sink = AxisSink(dut, "m_axis")
        self.agents = [self.source, self.sink]
        self.axil = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        for half in (self.axil.write_if, self.axil.read_if):
            half.log.setLevel(logging.WARNING)  # a line for each access otherwise

    def pins(self, value: int) -> None:
        """The device's error pins."""
        self.dut.seu_in.value = value & 1
        self.dut.over_temp_in.value = value >> 1 & 1

    async def reset(self, cycles: int = 8) -> None:
        """Reset, and let it go out of it."""
        await super().reset(cycles)
        await self.cycles(2)

    async def _within(self, access: Any, what: str) -> Any:
        task = cocotb.start_soon(access)
        limit = Timer(BUS_LIMIT * PERIOD_PS, "ps")
        await First(task, limit)
        if not task.done():
            task.cancel()
            raise Silent(f"{what}: no answer in {BUS_LIMIT} cycles")
        answer = task.result()
        if int(answer.resp):
            raise Refused(f"{what}: {'SLVERR' if int(answer.resp) == 2 else 'DECERR'}")
        return answer

    async def read(self, address: int) -> int:
        """Read a register."""
        answer = await self._within(self.axil.read(address, 4), f"read of {address:#05x}")
        return int.from_bytes(answer.data, "little")

    async def write(self, address: int, value: int) -> None:
        """Write a register."""
        data = value.to_bytes(4, "little")
        await self._within(self.axil.write(address, data), f"write of {address:#05x}")

    async def exchange(self, frames: list[bytes], tell: Callable[[bytes], None]) -> None:
        """Frames in; `tell` the verdicts as they are known. Raises ProtocolError, Silent."""
        waiting: deque[bytes] = deque()
        todo = deque(frames)
        still = 0
        limit = 200_000 + 64 * sum(len(f) // self.source.lanes + 1 for f in frames)
        while todo or waiting:
            while todo and len(waiting) < AT_ONCE:
                self.source.send(todo[0])
                waiting.append(todo.popleft())
            await RisingEdge(self.clk)
            limit -= 1
            if not limit:
                raise Silent(f"{len(waiting) + len(todo)} frames did not come out")
            while self.sink.frames:
                came = self.sink.frames.popleft()
                dropped = 0
                while waiting and waiting[0] != came.data:
                    waiting.popleft()
                    dropped += 1
                if not waiting:
                    raise ProtocolError(f"a frame of {len(came.data)} bytes that was not sent")
                waiting.popleft()
                tell(bytes([Verdict.BLOCK] * dropped + [came.user & 7]))
                still = 0
            still = 0 if self.source.beats or self.sink.mid_frame else still + 1
            if still and await self._empty(still):
                tell(bytes([Verdict.BLOCK] * len(waiting)))
                waiting.clear()

    async def _empty(self, still: int) -> bool:
        """Whether nothing will come out any more: what is missing was dropped."""
        if still >= QUIET:
            return True
        if still != HUSH:
            return False
        mask, wanted = ARMED_AND_DRAINED
        status = await self.read(reg.STATUS.address)
        return status & mask == wanted and not self.sink.frames and not self.sink.mid_frame


async def answer(bench: BridgeTB, link: socket.socket, kind: int, body: bytes) -> bytes:
    """Do what one request asks for; the answer's body."""
    if kind == Ask.HELLO:
        return struct.pack("<II", PROTOCOL, 8 * bench.source.lanes)
    if kind == Ask.READ:
        return (await bench.read(*struct.unpack("<I", body))).to_bytes(4, "little")
    if kind == Ask.WRITE:
        await bench.write(*struct.unpack("<II", body))
    elif kind == Ask.WAIT:
        await bench.cycles(*struct.unpack("<Q", body))
    elif kind == Ask.EXCHANGE:
        (count,) = struct.unpack_from("<I", body)
        at = 4 + 4 * count
        frames = []
        for size in struct.unpack_from(f"<{count}I", body, 4):
            frames.append(body[at : at + size])
            at += size
        await bench.exchange(frames, lambda known: send(link, Answer.PROGRESS, known))
        return b"\1"
    elif kind == Ask.IRQ:
        await RisingEdge(bench.clk)
        return bytes([int(bench.dut.irq.value)])
    elif kind == Ask.RESET:
        await bench.reset()
    elif kind == Ask.PINS:
        bench.pins(body[0])
    elif kind == Ask.WAVES:
        if not os.environ.get("NSDATA_BRIDGE_WAVES"):
            return b""
        run = Path(os.environ["NSDATA_RUN"])
        return str(next(iter(sorted(run.glob("dump.*"))), run / "dump.fst")).encode()
    else:
        raise ProtocolError(f"request {kind} is none")
    return b""


async def serve(bench: BridgeTB) -> None:
    """Serve one client until it closes. Time stands still while it does not ask."""
    path = os.environ["NSDATA_BRIDGE"]
    await bench.reset()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(path)
        door.listen(1)
        door.settimeout(float(os.environ.get("NSDATA_BRIDGE_PATIENCE", "60")))
        link, _ = door.accept()
    os.unlink(path)
    with link:
        link.settimeout(None)
        while True:
            try:
                kind, body = receive(link)
            except (EOFError, ConnectionError):
                return
            try:
                told, how = await answer(bench, link, kind, body), Answer.DONE
            except Refused as error:
                told, how = str(error).encode(), Answer.FAULT
            except Silent as error:
                told, how = str(error).encode(), Answer.TIMEOUT
            except ProtocolError as error:
                told, how = str(error).encode(), Answer.BREACH
            except (BrokenPipeError, ConnectionError):
                return
            try:
                send(link, how, told)
            except (BrokenPipeError, ConnectionError):
                return


@cocotb.test()
async def bridge(dut: Any) -> None:
    """Until the client goes."""
    await serve(BridgeTB(dut))
