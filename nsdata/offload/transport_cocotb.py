"""A cocotb test bench as a transport: the simulator in a process of its own.

`cocotb` starts one from the checkout (`python -m sim.bridge`) and ends it; `cocotb:/path.sock`
takes the place of one that was started by hand, with whatever the bench adds: other drivers,
waves, faults. nsdata.offload.bridge says what goes over the socket.
"""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from nsdata.errors import BusFault, BusTimeout, FpgaError, OffloadError, TransportDied
from nsdata.offload.bounds import check_address, check_cycles, check_value, frames_arrays
from nsdata.offload.bridge import PROTOCOL, Answer, Ask, receive, send
from nsdata.offload.rtl.sources import ROOT, missing
from nsdata.offload.transport import (
    Bytes,
    Exchange,
    FaultPort,
    Lengths,
    Offsets,
    accounted,
    parameters_of,
)

START = 900.0  # seconds: the simulation may have to be built
ANSWER = 60.0  # seconds without any answer: the simulator hangs
LINES = 15  # of the log, in an error


class CocotbTransport:
    """See Transport. `link`: connected; `process`, `log`: of a simulator that was started here."""

    name = "cocotb"
    faults: FaultPort | None = None

    def __init__(
        self,
        link: socket.socket,
        process: subprocess.Popen[bytes] | None = None,
        place: Path | None = None,
        timeout: float = ANSWER,
    ) -> None:
        self._link: socket.socket | None = link
        self.process = process
        self._place = place
        link.settimeout(timeout)
        protocol, self.data_w = struct.unpack("<II", self._ask(Ask.HELLO))
        if protocol != PROTOCOL:
            self.close()
            raise OffloadError(f"cocotb: the bench speaks protocol {protocol}, not {PROTOCOL}")

    def _log(self) -> str:
        path = self._place / "bridge.log" if self._place is not None else None
        if path is None or not path.is_file():
            return ""
        lines = path.read_text(errors="replace").splitlines()[-LINES:]
        return "\n".join(["", "the end of its log:", *lines])

    def _dead(self, error: Exception) -> TransportDied:
        closed = isinstance(error, EOFError | ConnectionError)  # with or without unread bytes
        why = "closed the socket" if closed else f"{error}"
        if isinstance(error, TimeoutError):
            why = "does not answer"
        if self._link is not None:
            self._link.close()
            self._link = None
        code = None
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                code = self.process.wait(5 if closed else 0.1)
        ended = f", it ended with {code}" if code is not None else ""
        log = self._log()
        died = TransportDied(f"cocotb: the simulator {why}{ended}{log}")
        died.evidence = {"class": "TransportDied", "log": log, "exit": code}
        return died

    def _alive(self) -> socket.socket:
        if self._link is None:
            raise TransportDied("cocotb: the transport is closed")
        return self._link

    def _ask(self, kind: Ask, body: bytes = b"") -> bytes:
        link = self._alive()
        try:
            send(link, kind, body)
            answer, told = receive(link)
        except (OSError, EOFError) as error:
            raise self._dead(error) from error
        return self._judge(answer, told)

    def _judge(self, answer: int, told: bytes) -> bytes:
        if answer == Answer.DONE:
            return told
        text = f"cocotb: {told.decode(errors='replace')}"
        if answer == Answer.FAULT:
            raise BusFault(text)
        if answer == Answer.TIMEOUT:
            raise BusTimeout(text)
        raise TransportDied(text)

    def read(self, address: int) -> int:
        """A register's value."""
        self._alive()
        check_address(self.name, "read", address)
        return int.from_bytes(self._ask(Ask.READ, struct.pack("<I", address)), "little")

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        self._alive()
        check_address(self.name, "write", address)
        check_value(value)
        self._ask(Ask.WRITE, struct.pack("<II", address, value))

    def wait(self, cycles: int) -> None:
        """Let `cycles` pass."""
        self._alive()
        check_cycles(cycles)
        self._ask(Ask.WAIT, struct.pack("<Q", cycles))

    def exchange(self, data: Bytes, offset: Offsets, length: Lengths) -> Exchange:
        """Frames in, and out again or dropped; the bench compares the bytes."""
        link = self._alive()
        data, offset, length = frames_arrays(data, offset, length)
        pieces = [
            data[start : start + size].tobytes()
            for start, size in zip(offset.tolist(), length.tolist(), strict=True)
        ]
        body = struct.pack("<I", len(length)) + length.astype("<u4").tobytes() + b"".join(pieces)
        known = bytearray()
        try:
            try:
                send(link, Ask.EXCHANGE, body)
                answer, told = receive(link)
                while answer == Answer.PROGRESS:
                    known += told
                    answer, told = receive(link)
            except (OSError, EOFError) as error:
                raise self._dead(error) from error
            ok = self._judge(answer, told)
        except FpgaError as error:
            verdict = np.frombuffer(bytes(known), np.uint8)
            raise accounted(error, verdict, len(length)) from error.__cause__
        return Exchange(np.frombuffer(bytes(known), np.uint8).copy(), ok == b"\1")

    def irq(self) -> bool:
        """The interrupt pin."""
        return self._ask(Ask.IRQ) == b"\1"

    def pins(self, *, seu: bool = False, over_temp: bool = False) -> None:
        """Drive the device's error pins."""
        self._ask(Ask.PINS, bytes([seu | over_temp << 1]))

    def waves(self) -> Path | None:
        """The file the waves go to (whole once the simulation has ended), or None."""
        told = self._ask(Ask.WAVES).decode()
        return Path(told) if told else None

    def reset(self) -> None:
        """Reset the block."""
        self._ask(Ask.RESET)

    def close(self) -> None:
        """End the connection; a simulator that was started here ends with it."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self.process is not None:
            end(self.process)
            self.process = None
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            self._place = None


def end(process: subprocess.Popen[bytes], patience: float = 10.0) -> None:
    """Wait for a process that was told to end; then end its group."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def connect(path: Path) -> socket.socket:
    """A connection to a bench that listens at `path`. Raises OSError."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.connect(str(path))
    except OSError:
        link.close()
        raise
    return link


def start(
    data_w: int = 64,
    parameters: Mapping[str, int] | None = None,
    *,
    waves: bool = False,
    timeout: float = ANSWER,
) -> CocotbTransport:
    """Start a simulator of nsd_top with `parameters` from the checkout, and connect.

    `timeout`: seconds an answer may take. Raises OffloadError, TransportDied.
    """
    if lacking := missing():
        raise OffloadError(f"cocotb: {lacking}")
    if not (ROOT / "sim" / "bridge").is_dir():
        raise OffloadError("cocotb: the test bench (sim/bridge) is in a checkout, and not here")
    place = Path(tempfile.mkdtemp(prefix="nsdata-cocotb-"))
    path = place / "s"
    command = [sys.executable, "-m", "sim.bridge", str(path), "--temporary"]
    command += ["--width", str(data_w)]
    command += [f"{name}={value}" for name, value in (parameters or {}).items()]
    command += ["--waves"] if waves else []
    with open(place / "bridge.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    until = time.monotonic() + START
    while True:
        try:
            return CocotbTransport(connect(path), process, place, timeout)
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > until:
            text = (place / "bridge.log").read_text(errors="replace")
            end(process, 0)
            shutil.rmtree(place, ignore_errors=True)
            tail = "\n".join(text.splitlines()[-LINES:])
            raise OffloadError(f"cocotb: the simulator did not start; its log ends:\n{tail}")
        time.sleep(0.05)


def open_spec(text: str) -> CocotbTransport:
    """Of `cocotb:TEXT`: a socket's path, or a width and parameters. Raises OffloadError."""
    if "/" in text:
        try:
            return CocotbTransport(connect(Path(text)))
        except OSError as error:
            raise OffloadError(
                f"cocotb:{text}: no bench listens there ({error.strerror}). Start one with: "
                f"python -m sim.bridge {text}"
            ) from error
    width, parameters = parameters_of("cocotb", text)
    return start(width, parameters)
