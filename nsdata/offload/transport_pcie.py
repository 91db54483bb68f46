"""A PCIe card as a transport: registers by its BAR, frames by two character devices.

`pcie:0000:03:00.0` takes BAR 0 of that device (sysfs's resource0) and the devices
/dev/nsdata-0000:03:00.0-h2c and -c2h; `pcie:/dir` takes resource0, h2c and c2h in a directory:
links to a card's, or an emulated one (nsdata.offload.bar, `python -m sim.bridge.bar`).

On h2c and c2h a frame is a header of 8 bytes, then its bytes, without padding:

    u32 length, little-endian      u8 tuser      3 bytes 0

tuser is s_axis_tuser (bit 0: the MAC's bad-frame mark) on h2c, m_axis_tuser (bits 2:0 the
verdict) on c2h. A dropped frame does not appear on c2h. Header and bytes may come in any pieces.

A write to the BAR is posted: its refusal cannot be told. So accesses that the register map does
not have are refused here, before they reach the bus, and a read of all ones asks for the
identity: a device that is gone reads as all ones.

The BAR is locked while it is open: a second driver is refused (nsdata.offload.owner).
"""

import os
import select
import struct
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from nsdata.errors import BusFault, BusTimeout, FpgaError, OffloadError, TransportDied
from nsdata.offload import registers as reg
from nsdata.offload.bar import EmulatedBar, MappedBar, is_emulated
from nsdata.offload.bounds import check_address, check_cycles, check_value, frames_arrays
from nsdata.offload.entry import Verdict
from nsdata.offload.owner import take
from nsdata.offload.transport import (
    Bytes,
    Exchange,
    FaultPort,
    Lengths,
    Offsets,
    accounted,
)

HEADER = struct.Struct("<IB3x")
TIMEOUT = 10.0  # seconds without a frame coming out
QUIET = 0.02  # seconds without a frame, after which the block is asked what it dropped
PIECE = 1 << 16
BY_ADDRESS = {register.address: register for register in reg.REGISTERS.values()}
COUNTED = ("clear", "suspect", "bypass", "block", "fault")


class PcieTransport:
    """See Transport. `bar`, `h2c`, `c2h`: files; `reset_file`: sysfs's, for a real card."""

    name = "pcie"
    faults: FaultPort | None = None

    def __init__(
        self, bar: Path, h2c: Path, c2h: Path, reset_file: Path | None = None,
        timeout: float = TIMEOUT,
    ) -> None:  # fmt: skip
        self.timeout = timeout
        self._reset_file = reset_file
        self._open = False
        with ExitStack() as stack:
            try:
                stack.callback(os.close, take(bar))
                self._bar = EmulatedBar(bar, timeout) if is_emulated(bar) else MappedBar(bar)
                stack.callback(self._bar.close)
                flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO opens without waiting
                self._out = os.open(h2c, flags)
                stack.callback(os.close, self._out)
                self._in = os.open(c2h, flags)
                stack.callback(os.close, self._in)
            except OSError as error:
                raise OffloadError(f"pcie: {error.filename}: {error.strerror}") from error
            self._open = True
            built = reg.BUILD_DATAPATH.decode(self.read(reg.BUILD_DATAPATH.address))
            self.data_w: int = built["data_w"]
            self._khz = self.read(reg.CLOCK_KHZ.address) or 156_250
            self._held = stack.pop_all()

    def _alive(self) -> None:
        if not self._open:
            raise TransportDied("pcie: the transport is closed")

    def read(self, address: int) -> int:
        """A register's value."""
        self._alive()
        check_address(self.name, "read", address)
        register = BY_ADDRESS.get(address)
        if register is None or not register.readable:
            raise BusFault(f"pcie: read of {address:#05x}: no such register to read")
        value = self._bar.load(address)
        if value == 0xFFFFFFFF and self._bar.load(reg.ID.address) == 0xFFFFFFFF:
            raise TransportDied("pcie: the device is gone: every register reads as all ones")
        return value

    def write(self, address: int, value: int) -> None:
        """Write a register; posted."""
        self._alive()
        check_address(self.name, "write", address)
        check_value(value)
        register = BY_ADDRESS.get(address)
        if register is None or not register.writable:
            raise BusFault(f"pcie: write of {address:#05x}: no such register to write")
        self._bar.store(address, value)

    def wait(self, cycles: int) -> None:
        """Let `cycles` pass."""
        self._alive()
        check_cycles(cycles)
        if isinstance(self._bar, EmulatedBar):
            self._bar.wait(cycles)
        else:
            self._bar.load(reg.ID.address)  # the stores are there before the time begins
            time.sleep(cycles / self._khz / 1000)

    def _counters(self) -> dict[str, int]:
        self.write(reg.STAT_CMD.address, 1)
        found = {}
        for name in ("frames_in", *COUNTED):
            found[name] = self.read(reg.REGISTERS[f"stat_{name}.lo"].address)
        return found

    def exchange(self, data: Bytes, offset: Offsets, length: Lengths) -> Exchange:
        """Frames in, and out again; what is missing must be counted as dropped by the block.

        The statistics' snapshot is used for that, when a frame is missing.
        """
        self._alive()
        data, offset, length = frames_arrays(data, offset, length)
        pieces = [
            data[start : start + size].tobytes()
            for start, size in zip(offset.tolist(), length.tolist(), strict=True)
        ]
        verdict = bytearray()
        try:
            before = self._counters()
            self._pass(pieces, before, verdict)
        except FpgaError as error:
            known = np.frombuffer(bytes(verdict), np.uint8)
            raise accounted(error, known, len(pieces)) from error.__cause__
        return Exchange(np.frombuffer(bytes(verdict), np.uint8).copy(), True)

    def _pass(self, pieces: list[bytes], before: dict[str, int], verdict: bytearray) -> None:
        to_send = memoryview(b"".join(HEADER.pack(len(p), 0) + p for p in pieces))
        came = bytearray()
        last = asked = time.monotonic()
        while len(verdict) < len(pieces):
            writers = [self._out] if to_send else []
            readable, writable, _ = select.select([self._in], writers, [], QUIET)
            if writable:
                to_send = to_send[os.write(self._out, to_send[:PIECE]) :]
            if readable:
                came += os.read(self._in, PIECE)
                self._take(came, pieces, verdict)
            now = time.monotonic()
            if readable or writable:
                last = asked = now
            elif now - asked > QUIET:
                asked = now
                self._missing(pieces, before, verdict)
                if now - last > self.timeout:
                    raise BusTimeout(f"pcie: no frame came out for {self.timeout:g} s")

    def _take(self, came: bytearray, pieces: list[bytes], verdict: bytearray) -> None:
        """Settle every whole frame that came: the first that is equal, past dropped ones."""
        at = 0
        while len(came) - at >= HEADER.size:
            size, user = HEADER.unpack_from(came, at)
            if len(came) - at - HEADER.size < size:
                break
            frame = bytes(came[at + HEADER.size : at + HEADER.size + size])
            at += HEADER.size + size
            index = len(verdict)
            while index < len(pieces) and pieces[index] != frame:
                index += 1
            if index == len(pieces):
                raise TransportDied(f"pcie: a frame of {size} bytes came out that is not the next")
            verdict += bytes([Verdict.BLOCK]) * (index - len(verdict)) + bytes([user & 7])
        del came[:at]

    def _missing(self, pieces: list[bytes], before: dict[str, int], verdict: bytearray) -> None:
        """When the block is at rest and has dropped as many as are missing, they are dropped."""
        now = self._counters()
        delta = {name: (now[name] - before[name]) & 0xFFFFFFFF for name in now}
        if delta["frames_in"] != len(pieces) or sum(delta[one] for one in COUNTED) != len(pieces):
            return
        missing = len(pieces) - len(verdict)
        if verdict.count(Verdict.BLOCK) + missing == delta["block"]:
            verdict += bytes([Verdict.BLOCK]) * missing

    def irq(self) -> bool:
        """The interrupt's level, as the block's status tells it."""
        return bool(self.read(reg.STATUS.address) & reg.STATUS["irq"].mask)

    def reset(self) -> None:
        """Reset the function (sysfs), and forget frames that were under way."""
        self._alive()
        if isinstance(self._bar, EmulatedBar):
            self._bar.reset()
        elif self._reset_file is not None and self._reset_file.exists():
            self._reset_file.write_text("1")
        else:
            raise FpgaError("pcie: this device cannot be reset: sysfs has no reset file for it")
        while select.select([self._in], [], [], 0)[0]:
            os.read(self._in, PIECE)

    def close(self) -> None:
        """Unmap and close; another driver may have it."""
        if self._open:
            self._open = False
            self._held.close()


def open_spec(text: str) -> PcieTransport:
    """Of `pcie:TEXT`: a PCI address or a directory. Raises OffloadError."""
    if "/" in text:
        place = Path(text)
        if not (place / "resource0").exists():
            raise OffloadError(f"pcie:{text}: no resource0 there")
        return PcieTransport(place / "resource0", place / "h2c", place / "c2h")
    place = Path("/sys/bus/pci/devices") / text
    if not place.is_dir():
        raise OffloadError(f"pcie: no device {text} ({place} is not there). lspci -D lists them")
    h2c, c2h = (Path(f"/dev/nsdata-{text}-{end}") for end in ("h2c", "c2h"))
    return PcieTransport(place / "resource0", h2c, c2h, place / "reset")
