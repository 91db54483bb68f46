"""The driver of one block: `Driver` on a transport that blocks, `AsyncDriver` on one that awaits.

    driver = Driver(open_transport("rtl"))
    driver.identify()
    driver.load(image, flows)
    driver.start(limit=..., hold=...)
    verdicts = driver.inspect(data, offset, length)
    report = driver.poll()

What is done is decided in nsdata.offload.host, without IO. Whatever fails raises FpgaError with
its evidence (docs/offload.md).
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from nsdata.errors import FpgaError
from nsdata.offload import sequences
from nsdata.offload.entry import FlowAction, FlowKey, Verdict
from nsdata.offload.host import Flows, Host, Start, enrich, frame_arrays
from nsdata.offload.image import PrefilterImage
from nsdata.offload.registers import RearmReason, State
from nsdata.offload.report import ErrorReport
from nsdata.offload.sequences import Identity, Sequence_
from nsdata.offload.transport import Transport, TransportAsync

T = TypeVar("T")
Bytes = NDArray[np.uint8]
Offsets = NDArray[np.uint64]
Lengths = NDArray[np.uint32]

HOLD = 156_250  # 1 ms at 156.25 MHz


def _changed(transport: str) -> FpgaError:
    return enrich(
        FpgaError(f"{transport}: frames came out changed or out of order", {"class": "FRAMES"}),
        transport, "inspect",
    )  # fmt: skip


def _spread(error: FpgaError, fit: NDArray[np.bool_]) -> FpgaError:
    """What an error knows of the frames that were sent, as knowledge of all: those that stayed
    here are SUSPECT."""
    if error.verdict is not None:
        sent = np.flatnonzero(fit)
        known = len(error.verdict)
        verdict = np.full(sent[known] if known < len(sent) else len(fit), Verdict.SUSPECT, np.uint8)
        verdict[sent[:known]] = error.verdict
        error.verdict = verdict
        error.evidence |= {"frames": len(fit), "accounted": len(verdict)}
    return error


class Driver:
    """See the module. The methods without a docstring of their own errors raise FpgaError."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.host = Host()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, sequence: Sequence_[T], doing: str = "") -> T:
        """Run any sequence of the host's."""
        try:
            return sequences.drive(self.transport, sequence)
        except FpgaError as error:
            raise enrich(error, self.transport.name, doing) from error.__cause__

    def identify(self) -> Identity:
        """Check that it is a block this nsdata drives; what it was built with."""
        return self.run(self.host.identify(), "identify")

    def load(self, image: PrefilterImage | None, flows: Flows = ()) -> None:
        """Replace both tables atomically (Host.load): image None means no prefilter table."""
        self.run(self.host.load(image, flows), "load")

    def verify(self) -> int:
        """Read both tables back word by word; entries compared."""
        return self.run(self.host.verify(), "verify")

    def start(self, *, limit: int = 1 << 30, hold: int = HOLD) -> None:
        """Arm. `limit`: cycles without a beat until the block opens; `hold`: those of a fault."""
        self.run(self.host.start(Start(limit, hold)), "start")

    def stop(self) -> None:
        """Disarm: every frame is permitted."""
        self.run(self.host.stop(), "stop")

    def beat(self) -> int:
        """The host's sign of life; cycles the block allows until the next."""
        return self.run(self.host.beat(), "beat")

    def poll(self) -> ErrorReport | None:
        """The interrupt first, then the record; None: nothing to report."""
        return self.run(self.host.poll(), "poll")

    def errors(self) -> ErrorReport:
        """Status, record and counters, interrupt or not."""
        return self.run(sequences.read_errors(registers=True), "errors")

    def state(self) -> State:
        """The error unit's state."""
        return self.run(self.host.state(), "state")

    def inspect(
        self, data: Bytes | bytes, offset: Offsets | Sequence[int], length: Lengths | Sequence[int]
    ) -> NDArray[np.uint8]:
        """A verdict for each frame: uint8 [frames], as `Verdict`.

        Frame i is length[i] bytes of `data` at offset[i]. A frame the block does not take
        (empty, or longer than it was built for) is SUSPECT and stays here. OffloadError: these
        are no frames.
        """
        data, offset, length = frame_arrays(data, offset, length)
        fit = self.host.sendable(length)
        if fit is None:
            return self._exchange(data, offset, length)
        verdict = np.full(len(length), Verdict.SUSPECT, np.uint8)
        try:
            verdict[fit] = self._exchange(data, offset[fit], length[fit])
        except FpgaError as error:
            _spread(error, fit)
            raise
        return verdict

    def _exchange(self, data: Bytes, offset: Offsets, length: Lengths) -> NDArray[np.uint8]:
        try:
            done = self.transport.exchange(data, offset, length)
        except FpgaError as error:
            raise enrich(error, self.transport.name, "inspect") from error.__cause__
        if not done.bytes_ok:
            raise _changed(self.transport.name)
        self.host.count(done.verdict)
        return done.verdict

    def statistics(self) -> dict[str, int]:
        """The block's counters (Host.statistics): by name, frames and cycles since reset."""
        return self.run(self.host.statistics(), "statistics")

    def insert_flow(
        self, key: FlowKey, action: FlowAction = FlowAction.BYPASS, both: bool = True
    ) -> bool:
        """Shunt a flow, both directions; False when its set is full."""
        return self.run(self.host.insert_flow(key, action, both), "insert_flow")

    def remove_flow(self, key: FlowKey, both: bool = True) -> bool:
        """Take a flow back; False when it was not there."""
        return self.run(self.host.remove_flow(key, both), "remove_flow")

    def flush_flows(self) -> None:
        """Forget all flows at once."""
        self.run(self.host.flush_flows(), "flush_flows")

    def rearm(self) -> tuple[RearmReason, ...]:
        """Leave FAULT; the refusals on the way. FpgaError names the last when it stays refused."""
        return self.run(self.host.rearm(), "rearm")

    def recover(self) -> int:
        """Reset, reload, verify, re-arm; entries compared."""
        return self.run(self.host.recover(), "recover")

    def close(self) -> None:
        """Disarm if it still listens, and give the transport back."""
        try:
            if self.host.started is not None:
                self.stop()
        except FpgaError:
            pass  # it is being left; what is dead needs no disarming
        self.transport.close()


class AsyncDriver:
    """The same for asyncio; each method is Driver's."""

    def __init__(self, transport: TransportAsync) -> None:
        self.transport = transport
        self.host = Host()

    async def run(self, sequence: Sequence_[T], doing: str = "") -> T:
        """Run any sequence of the host's."""
        try:
            return await sequences.drive_async(self.transport, sequence)
        except FpgaError as error:
            raise enrich(error, self.transport.name, doing) from error.__cause__

    async def identify(self) -> Identity:
        """Driver.identify."""
        return await self.run(self.host.identify(), "identify")

    async def load(self, image: PrefilterImage | None, flows: Flows = ()) -> None:
        """Driver.load."""
        await self.run(self.host.load(image, flows), "load")

    async def verify(self) -> int:
        """Driver.verify."""
        return await self.run(self.host.verify(), "verify")

    async def start(self, *, limit: int = 1 << 30, hold: int = HOLD) -> None:
        """Driver.start."""
        await self.run(self.host.start(Start(limit, hold)), "start")

    async def stop(self) -> None:
        """Driver.stop."""
        await self.run(self.host.stop(), "stop")

    async def beat(self) -> int:
        """Driver.beat."""
        return await self.run(self.host.beat(), "beat")

    async def poll(self) -> ErrorReport | None:
        """Driver.poll."""
        return await self.run(self.host.poll(), "poll")

    async def inspect(
        self, data: Bytes | bytes, offset: Offsets | Sequence[int], length: Lengths | Sequence[int]
    ) -> NDArray[np.uint8]:
        """Driver.inspect."""
        data, offset, length = frame_arrays(data, offset, length)
        fit = self.host.sendable(length)
        verdict = np.full(len(length), Verdict.SUSPECT, np.uint8)
        where = np.ones(len(length), np.bool_) if fit is None else fit
        try:
            done = await self.transport.exchange(data, offset[where], length[where])
        except FpgaError as error:
            raise _spread(enrich(error, self.transport.name, "inspect"), where) from error.__cause__
        if not done.bytes_ok:
            raise _changed(self.transport.name)
        self.host.count(done.verdict)
        verdict[where] = done.verdict
        return verdict

    async def statistics(self) -> dict[str, int]:
        """Driver.statistics."""
        return await self.run(self.host.statistics(), "statistics")

    async def insert_flow(
        self, key: FlowKey, action: FlowAction = FlowAction.BYPASS, both: bool = True
    ) -> bool:
        """Driver.insert_flow."""
        return await self.run(self.host.insert_flow(key, action, both), "insert_flow")

    async def remove_flow(self, key: FlowKey, both: bool = True) -> bool:
        """Driver.remove_flow."""
        return await self.run(self.host.remove_flow(key, both), "remove_flow")

    async def flush_flows(self) -> None:
        """Driver.flush_flows."""
        await self.run(self.host.flush_flows(), "flush_flows")

    async def rearm(self) -> tuple[RearmReason, ...]:
        """Driver.rearm."""
        return await self.run(self.host.rearm(), "rearm")

    async def recover(self) -> int:
        """Driver.recover."""
        return await self.run(self.host.recover(), "recover")

    async def close(self) -> None:
        """Driver.close."""
        try:
            if self.host.started is not None:
                await self.stop()
        except FpgaError:
            pass  # it is being left; what is dead needs no disarming
        await self.transport.close()
