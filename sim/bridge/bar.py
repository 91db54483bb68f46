"""An emulated card: the Verilated block behind a BAR file and two FIFOs.

    python -m sim.bridge.bar DIR [--width W] [NAME=N ...]

makes DIR/resource0, DIR/h2c, DIR/c2h for `pcie:DIR` and serves until it is ended or the process
that started it is gone. nsdata/offload/bar.py says how the BAR's accesses are handed over.
"""

import argparse
import os
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import numpy as np

from nsdata.errors import BusFault
from nsdata.offload.bar import BarServer, Op
from nsdata.offload.rtl.block import OUT, Block, BusError
from nsdata.offload.rtl.build import build
from nsdata.offload.transport_pcie import HEADER, PIECE

STEP = 2000  # cycles at a time while frames are in the block


class Card:
    """The block, and the three files."""

    def __init__(self, place: Path, block: Block) -> None:
        self.block = block
        block.reset()
        block.keep()
        for name in ("h2c", "c2h"):
            os.mkfifo(place / name)
        self.h2c = os.open(place / "h2c", os.O_RDWR | os.O_NONBLOCK)
        self.c2h = os.open(place / "c2h", os.O_RDWR | os.O_NONBLOCK)
        self.came = bytearray()
        self.out: deque[bytes] = deque()
        # Last: who sees the BAR may use the FIFOs.
        self.bar = BarServer(place / "new")
        os.rename(place / "new", place / "resource0")

    def do(self, kind: Op, address: int, value: int) -> int:
        """One access."""
        block = self.block
        try:
            if kind == Op.STORE:
                block.write(address, value)
            elif kind == Op.LOAD:
                return block.read(address)
            elif kind == Op.WAIT:
                block.wait(value)
            else:
                block.reset()
                block.collect()
                block.fetch()
                self.came.clear()
                self.out.clear()
        except BusError as error:
            raise BusFault(str(error)) from error
        return 0

    def turn(self) -> bool:
        """Registers, frames in, time, frames out; whether anything happened."""
        busy = self.bar.turn(self.do) > 0
        with suppress(BlockingIOError):
            self.came += os.read(self.h2c, PIECE)
        frames = []
        while len(self.came) >= HEADER.size:
            size, mark = HEADER.unpack_from(self.came)
            if len(self.came) < HEADER.size + size:
                break
            frames.append((bytes(self.came[HEADER.size : HEADER.size + size]), mark & 1))
            del self.came[: HEADER.size + size]
        if frames:
            length = np.array([len(frame) for frame, _ in frames], np.uint32)
            offset = np.zeros(len(frames), np.uint64)
            np.cumsum(length[:-1], out=offset[1:])
            data = np.frombuffer(b"".join(frame for frame, _ in frames), np.uint8)
            marks = np.array([mark for _, mark in frames], np.uint8)
            self.block.feed(data, offset, length, marks, np.ones(len(frames), np.uint8))
        if self.block.pending:
            busy = True
            self.block.wait(STEP)
            self._collect()
        while self.out:
            try:
                sent = os.write(self.c2h, self.out[0])
            except BlockingIOError:
                break
            busy = True
            if sent < len(self.out[0]):
                self.out[0] = self.out[0][sent:]
                break
            self.out.popleft()
        return busy

    def _collect(self) -> None:
        kept = self.block.fetch()
        results = self.block.collect()
        at = 0
        for one in results:
            if one["fate"] != OUT:
                continue
            size = int(one["length"])
            user = int(one["verdict"]) | int(one["mark"]) << 3
            self.out.append(HEADER.pack(size, user) + kept[at : at + size])
            at += size


def main() -> int:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m sim.bridge.bar", description=__doc__)
    parser.add_argument("place", type=Path, metavar="DIR")
    parser.add_argument("--width", type=int, choices=(64, 512), default=64)
    parser.add_argument("parameters", nargs="*", help="of nsd_top: SETS_LOG2=4 ...")
    options = parser.parse_intermixed_args()
    parameters = {}
    for one in options.parameters:
        name, _, value = one.partition("=")
        parameters[name] = int(value, 0)
    parent = os.getppid()
    options.place.mkdir(parents=True, exist_ok=True)
    card = Card(options.place, Block(library=build(options.width, None, **parameters)))
    idle = 0
    while os.getppid() == parent:
        idle = 0 if card.turn() else idle + 1
        if idle > 100:
            time.sleep(5e-5)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
