"""A block behind the driver as the session's Offload: the same for rtl, cocotb and a card.

It arms the block, gives it a sign of life with every look for an error, and turns what fails into
one FpgaError: where the block still answers and has a fatal error on record, that record is the
evidence, for it is nearer to the cause than what the driver noticed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nsdata.capture import Batch
from nsdata.errors import BusTimeout, FpgaError, OffloadError, TransportDied
from nsdata.offload.bounds import WORD
from nsdata.offload.driver import HOLD, Driver
from nsdata.offload.entry import FlowAction, FlowKey
from nsdata.offload.host import Start
from nsdata.offload.image import PrefilterImage
from nsdata.offload.registers import ErrorClass
from nsdata.offload.report import ErrorReport
from nsdata.offload.transport import Transport

T = TypeVar("T")


class DrivenOffload:
    """See the module, and nsdata.offload.session.Offload.

    `reopen` makes the transport anew when it died; without it a dead one stays dead.
    `heartbeat`: seconds without a beat until the block permits everything; `hold`: cycles a
    fault lasts at least. Raises FpgaError when it is no block this nsdata drives.
    """

    def __init__(
        self,
        transport: Transport,
        reopen: Callable[[], Transport] | None = None,
        *,
        heartbeat: float = 1.0,
        hold: int = HOLD,
    ) -> None:
        self.name = transport.name
        self.driver = Driver(transport)
        self._reopen = reopen
        self._dead = False
        self._past: Counter[str] = Counter()  # errors counted before the last reset
        identity = self.driver.identify()
        self._built = identity.built
        self.sets_log2 = identity.built["sets_log2"]
        self.table: tuple[int, int] | None = (
            identity.built["buckets_log2"], identity.built["pf_words"],
        )  # fmt: skip
        self._start = Start(min(max(identity.cycles(heartbeat), 1), WORD), hold)
        self._ask("reset", transport.reset)  # whatever it did before

    # --- asking -----------------------------------------------------------------------------

    def _ask(self, doing: str, what: Callable[[], T]) -> T:
        """`what()`; when it fails and the block knows more of it, the block's record."""
        try:
            return what()
        except FpgaError as error:
            self._dead |= isinstance(error, TransportDied | BusTimeout)
            report = self._report() if not isinstance(error, TransportDied) else None
            if report is None or not report.fatal:
                raise
            told = report.failure(self.name)
            told.verdict = error.verdict
            told.evidence |= {"doing": doing, "driver": str(error)}
            told.evidence |= {
                key: error.evidence[key] for key in ("frames", "accounted") if key in error.evidence
            }
            raise told from error

    def _report(self) -> ErrorReport | None:
        with suppress(FpgaError):
            return self.driver.errors()
        return None

    # --- what a session does ------------------------------------------------------------------

    def load(self, image: PrefilterImage) -> None:
        """Replace both tables, checked by their signatures, and arm."""

        def load() -> None:
            self.driver.load(image)
            self._arm()

        self._ask("load", load)

    def _arm(self) -> None:
        """Arm, unless it is in FAULT: then `poll` says why, and nothing will arm it."""
        report = self.driver.errors()
        if not report.fatal:
            self.driver.start(limit=self._start.limit, hold=self._start.hold)

    def inspect(self, batch: Batch) -> NDArray[np.uint8]:
        """Through the block and back: uint8 [frames]."""
        return self._ask(
            "inspect", lambda: self.driver.inspect(batch.data, batch.offset, batch.caplen)
        )

    def poll(self) -> FpgaError | None:
        """The interrupt, and the record when it is high; else a heartbeat."""
        report = self._ask("poll", self.driver.poll)
        if report is not None and report.fatal:
            return report.failure(self.name)
        self._ask("beat", self.driver.beat)
        return None

    def insert_flow(self, key: FlowKey, action: FlowAction) -> bool:
        """One direction of a flow; False when its set is full."""
        return self._ask("insert_flow", lambda: self.driver.insert_flow(key, action, both=False))

    def remove_flow(self, key: FlowKey) -> None:
        """Take it out, if it is in."""
        self._ask("remove_flow", lambda: self.driver.remove_flow(key, both=False))

    def flush_flows(self) -> None:
        """Forget all flows."""
        self._ask("flush_flows", self.driver.flush_flows)

    def errors(self) -> Mapping[str, int]:
        """How often the block noted each class since it was opened; what cannot be asked any
        more is left out."""
        report = None if self._dead else self._report()
        counts = Counter(self._past)
        if report is not None:
            counts.update({one.name: report.counts[one] for one in ErrorClass})
        return {one.name: counts[one.name] for one in ErrorClass if counts[one.name]}

    def recover(self, image: PrefilterImage) -> None:
        """Reset, identify, load, read every entry back, arm. A dead transport is made anew."""
        self._past = Counter(self.errors())
        if self._dead:
            self._revive()
        host = self.driver.host
        host.image, host.flows, host.started = image, {}, self._start
        try:
            self.driver.recover()
        except TransportDied:
            self._dead = True
            raise

    def _revive(self) -> None:
        if self._reopen is None:
            return
        with suppress(FpgaError):
            self.driver.transport.close()
        try:
            transport = self._reopen()
        except FpgaError:
            raise
        except OffloadError as error:
            raise TransportDied(
                f"{self.name}: it cannot be opened again: {error}",
                {"class": "TransportDied", "doing": "recover"},
            ) from error
        driver = Driver(transport)
        built = driver.identify().built
        if built != self._built:
            transport.close()
            raise FpgaError(
                f"{self.name}: another block answers than before",
                {"class": "IDENTITY", "built": built, "before": self._built},
            )
        self.driver, self._dead = driver, False

    def close(self) -> None:
        """Disarm, and give the transport back."""
        self.driver.close()
