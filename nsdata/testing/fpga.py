"""The block under test: one way to it for a whole test run, made new for every test.

`Fpga` is what the fixture `fpga` gives. Its context managers bring faults about; a test goes on
inside or after them and says what the engine must have made of it:

    with fpga.injected("SEU"):
        engine.inspect_batch(capture[1000:1064])
    engine.assert_fallback(reason="FPGA reported error", within_frames=64)
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nsdata.errors import FpgaError
from nsdata.offload import registers as reg
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.driver import Driver
from nsdata.offload.registers import ErrorClass
from nsdata.offload.transport import KINDS, DevicePins, Transport, open_transport
from nsdata.offload.transport_cocotb import CocotbTransport

LAST_BEAT = 4096  # cycles a block is given when its heartbeat is stopped


def check_spec(spec: str) -> None:
    """Raise pytest.UsageError unless `--fpga` names a transport; opens nothing."""
    kind, _, rest = spec.partition(":")
    if kind not in KINDS:
        raise pytest.UsageError(
            f"--fpga={spec}: no such transport. There are model (always there), rtl (the Verilated "
            "block in this process), cocotb (a simulator of its own) and pcie:ADDR (a card); "
            "docs/offload.md says what each takes behind a colon"
        )
    if kind == "pcie" and not rest:
        raise pytest.UsageError(
            "--fpga=pcie: which card? Try --fpga=pcie:0000:03:00.0 (lspci -D lists them)"
        )


class Fpga:
    """See the module. `spec`: what `--fpga` said; `kind`: model, rtl, cocotb or pcie.

    `block` is the block as an engine takes it, `driver` the driver beneath it (docs/offload.md),
    `transport` the way to it. `fault_frame`: frames the engine had received when the last fault
    was brought about, None when none was.
    """

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.kind = spec.partition(":")[0]
        self.fault_frame: int | None = None
        self.received: Callable[[], int] = lambda: 0  # by the engine beside it
        self.block = DrivenOffload(open_transport(spec), self._reopen)

    def _reopen(self) -> Transport:
        return open_transport(self.spec)

    @property
    def driver(self) -> Driver:
        """The driver: identify, load, inspect, poll, statistics, flows."""
        return self.block.driver

    @property
    def transport(self) -> Transport:
        """The way to it; another one after it died and a restore opened it anew."""
        return self.block.driver.transport

    def begin(self) -> None:
        """As after power-on: no tables, no flows, no faults; a dead one is opened anew."""
        self.fault_frame = None
        self.received = lambda: 0
        transport = self.transport
        try:
            transport.read(reg.ID.address)
        except FpgaError:
            transport.close()
            transport = self._reopen()
        if isinstance(transport, DevicePins):
            transport.pins()
        if transport.faults is not None:
            for name in transport.faults.names:
                transport.faults.poke(name, 0)
        self.block = DrivenOffload(transport, self._reopen)

    def close(self) -> None:
        """Give it back."""
        self.block.close()

    # --- faults -----------------------------------------------------------------------------

    def fault_begins(self) -> None:
        """Note the moment from which `within_frames` counts; for faults of a test's own."""
        self.fault_frame = self.received()

    @contextmanager
    def injected(self, error: str | ErrorClass) -> Iterator[None]:
        """Inject an error class through the block's own register (ERR_INJECT).

        Classes that live in the data path (ECC_CE, ECC_UE, PARITY, …) strike with the next
        frame. Nothing is undone at the end: what is on record stays until the block recovers.
        """
        if not isinstance(error, ErrorClass):
            if error not in ErrorClass.__members__:
                names = ", ".join(ErrorClass.__members__)
                pytest.fail(f"fpga.injected({error!r}): no such error class. There are {names}")
            error = ErrorClass[error]
        self.fault_begins()
        self.transport.write(reg.ERR_INJECT.address, 1 << error)
        yield

    @contextmanager
    def without_heartbeat(self) -> Iterator[None]:
        """The host gives no sign of life, for longer than the block waits for one.

        The block's limit is cut short for it, so that simulations need not wait for a second.
        """
        driver = self.driver
        self.fault_begins()
        self.transport.write(reg.HEARTBEAT_LIMIT.address, LAST_BEAT)
        driver.beat()
        vars(driver)["beat"] = lambda: LAST_BEAT
        try:
            self.transport.wait(2 * LAST_BEAT)
            yield
        finally:
            del vars(driver)["beat"]

    @contextmanager
    def killed(self) -> Iterator[None]:
        """The way to the block dies: the simulator is killed; a block in this process is closed.

        A restore opens it anew. Skips the test where neither can be done (a card, a bench that
        was started by hand).
        """
        transport = self.transport
        simulator = transport.process if isinstance(transport, CocotbTransport) else None
        if simulator is None and self.kind not in ("model", "rtl"):
            pytest.skip(f"--fpga={self.spec}: it was not started here, so it is not killed here")
        self.fault_begins()
        if simulator is None:
            transport.close()
        else:
            for pid in descendants(simulator.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        yield

    @contextmanager
    def pin_high(self, *, seu: bool = False, over_temp: bool = False) -> Iterator[None]:
        """The device says that its configuration is upset, or that it is too hot, for as long as
        this lasts. Skips the test where the pins are out of reach."""
        transport = self.transport
        if not isinstance(transport, DevicePins):
            pytest.skip(f"--fpga={self.spec}: the device's error pins are out of reach")
        self.fault_begins()
        transport.pins(seu=seu, over_temp=over_temp)
        try:
            yield
        finally:
            with suppress(FpgaError):
                transport.pins()

    @contextmanager
    def silent_fault(self, port: str, value: int = 1) -> Iterator[None]:
        """A fault behind the block's own checks, through a test-only port of a simulated one.

        Skips the test where there is none of that name.
        """
        faults = self.transport.faults
        if faults is None or port not in faults.names:
            there = ", ".join(faults.names) if faults is not None else "none at all"
            pytest.skip(f"--fpga={self.spec}: no test-only port {port}; there are {there}")
        self.fault_begins()
        faults.poke(port, value)
        try:
            yield
        finally:
            with suppress(FpgaError):
                faults.poke(port, 0)


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, as the system knows them (Linux)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = path.read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid:
                below = int(path.parent.name)
                found += [below, *descendants(below)]
    return found
