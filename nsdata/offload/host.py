"""What the host knows of one block, and everything it does with it: sans-IO.

Each method is a sequence (nsdata.offload.sequences): `Driver` runs it on a transport that
blocks, `AsyncDriver` on one that awaits. What is remembered here (the image, the flows, the
options of `start`) is what `recover` puts back.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsdata.errors import FpgaError, OffloadError
from nsdata.offload import registers as reg
from nsdata.offload import sequences as seq
from nsdata.offload.bounds import WORD, Arrays, typed_arrays
from nsdata.offload.entry import ENTRY_WORDS, FlowAction, FlowKey, Verdict
from nsdata.offload.flow_mirror import FlowMirror
from nsdata.offload.image import PrefilterImage
from nsdata.offload.model import signature
from nsdata.offload.registers import RearmReason, State
from nsdata.offload.report import FATAL, ErrorReport
from nsdata.offload.sequences import Identity, Sequence_, Tables

Flows = Iterable[tuple[FlowKey, FlowAction]]
FRAMES_ARE = "frames are bytes (or a uint8 array), and an offset and a length for each of them"


@dataclass(frozen=True, slots=True)
class Start:
    """How the block is armed; cycles. `limit`: without a beat for so long, it opens."""

    limit: int = 1 << 30
    hold: int = 156_250

    def __post_init__(self) -> None:
        for name, value, least in (("limit", self.limit, 1), ("hold", self.hold, 0)):
            if not least <= value <= WORD:
                raise ValueError(f"{name} {value}: legal are {least} to {WORD} cycles")


class Host:
    """See the module. `dropped`: frames the transport saw dropped since the last reset."""

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.image: PrefilterImage | None = None
        self.flows: dict[FlowKey, FlowAction] = {}
        self.mirror: FlowMirror | None = None
        self.started: Start | None = None
        self._loaded: dict[str, int] | None = None  # what PF_STATUS said when tables were loaded
        self.dropped = 0

    # --- what it is -----------------------------------------------------------------------

    def identify(self) -> Sequence_[Identity]:
        """Check that it is a block this nsdata drives; what it was built with."""
        self.identity = yield from seq.identity()
        if self.mirror is None:
            self.mirror = FlowMirror(self.identity.built["sets_log2"])
        return self.identity

    def _known(self) -> Sequence_[Identity]:
        if self.identity is None:
            return (yield from self.identify())
        return self.identity

    # --- tables ---------------------------------------------------------------------------

    def load(self, image: PrefilterImage | None, flows: Flows = ()) -> Sequence_[None]:
        """Replace both tables, and check by their signatures that they hold it.

        `flows`: directions of flows, as given (`both` makes the other one). From the first write
        to the commit every frame is SUSPECT, or what the flows loaded so far say of it.
        OffloadError when the image or the flows do not fit: then nothing was touched, the old
        tables are in force. FpgaError when the block does not hold what was written: then it is
        disarmed, without a prefilter table.
        """
        identity = yield from self._known()
        wanted = dict(flows)
        self._check_fit(identity, image)
        planned = FlowMirror(identity.built["sets_log2"])
        entries: list[tuple[int, FlowKey, FlowAction]] = []
        for key, action in wanted.items():
            address = planned.place(key)
            if address is None:
                raise OffloadError(
                    f"the flow table has no room for {len(wanted)} flows: a set of two ways "
                    "is full; the old tables are in force"
                )
            planned.put(address, key, action)
            entries.append((address, key, action))
        try:
            yield from self._write_tables(image, entries)
        except FpgaError as error:
            self.image, self.flows, self._loaded = None, {}, None
            yield from self._disarm(error)
            raise
        self.image, self.flows = image, wanted
        self._loaded = reg.PF_STATUS.decode((yield seq.Read(reg.PF_STATUS.address)))

    def _check_fit(self, identity: Identity, image: PrefilterImage | None) -> None:
        if image is None:
            return
        built = (identity.built["buckets_log2"], identity.built["pf_words"])
        if built != (image.buckets_log2, image.words):
            raise OffloadError(
                f"the image is for 2**{image.buckets_log2} buckets of {image.words} words, the "
                f"block has 2**{built[0]} of {built[1]}; the old tables are in force. Compile it "
                f"with --buckets {1 << built[0]} --words {built[1]}"
            )

    def _write_tables(
        self, image: PrefilterImage | None, entries: list[tuple[int, FlowKey, FlowAction]]
    ) -> Sequence_[None]:
        assert self.mirror is not None
        yield from seq.clear_flows()
        self.mirror.clear()
        self.mirror.generation = yield from seq.get(reg.FLOW_STATUS, "generation")
        for address, key, action in entries:
            yield from seq.write_flow(address, self.mirror.put(address, key, action))
        left = "the block is disarmed, without tables"
        yield from seq.check_signature(
            reg.FLOW_SIGNATURE, self.mirror.signature, "the flow table", left
        )
        if image is None:
            yield from seq.command(reg.PF_CMD, "load_begin")
            yield from seq.poll(reg.PF_STATUS, "busy", 0, 100_000)
            return
        yield from seq.load_prefilter(
            Tables({}, image.table, image.seed, image.ranges), image.signature
        )
        buckets = signature(image.table)
        yield from seq.check_signature(reg.PF_SIGNATURE, buckets, "the prefilter's table", left)

    def _disarm(self, error: FpgaError) -> Sequence_[None]:
        """After a failed load: permit everything, if the block still listens."""
        try:
            yield seq.Write(reg.CTRL.address, 0)
            yield seq.Write(reg.FLOW_CMD.address, reg.FLOW_CMD.encode(clear=1))
            error.evidence["left"] = "disarmed, without tables"
        except FpgaError as second:
            error.evidence["left"] = f"unknown: {second}"

    def verify(self) -> Sequence_[int]:
        """Read both tables back, word by word; how many entries were compared.

        FpgaError naming the first that differs from what was loaded.
        """
        yield from self._known()
        assert self.mirror is not None
        compared = 0
        for address in np.flatnonzero(self.mirror.entries.any(axis=1)).tolist():
            words = yield from seq.read_flow(address)
            _same("flow table", address, words, self.mirror.entries[address])
            compared += 1
        if self.image is not None:
            for address in np.flatnonzero(self.image.table.any(axis=1)).tolist():
                words = yield from seq.read_bucket(address, self.image.words)
                _same("prefilter", address, words, self.image.table[address])
                compared += 1
        return compared

    # --- flows ----------------------------------------------------------------------------

    def insert_flow(self, key: FlowKey, action: FlowAction, both: bool) -> Sequence_[bool]:
        """Shunt a flow: False when the table has no room for it (then all is as it was)."""
        yield from self._known()
        assert self.mirror is not None
        keys = dict.fromkeys((key, key.reversed()) if both else (key,))
        done: list[FlowKey] = []
        # New ones first: a key that is held always has its place, and need not be undone.
        for one in sorted(keys, key=lambda each: each in self.flows):
            address = self.mirror.place(one)
            if address is None:
                for undo in done:
                    yield from self._remove(undo)
                return False
            yield from seq.write_flow(address, self.mirror.put(address, one, action))
            self.flows[one] = action
            done.append(one)
        yield from self._check_flows()
        return True

    def remove_flow(self, key: FlowKey, both: bool) -> Sequence_[bool]:
        """Take a flow back; False when it was not there."""
        yield from self._known()
        found = False
        for one in dict.fromkeys((key, key.reversed()) if both else (key,)):
            found |= yield from self._remove(one)
        if found:
            yield from self._check_flows()
        return found

    def _remove(self, key: FlowKey) -> Sequence_[bool]:
        assert self.mirror is not None
        self.flows.pop(key, None)
        address = self.mirror.take(key)
        if address is None:
            return False
        yield from seq.write_flow(address, (0,) * ENTRY_WORDS)
        return True

    def flush_flows(self) -> Sequence_[None]:
        """Forget all flows at once."""
        yield from self._known()
        assert self.mirror is not None
        yield from seq.command(reg.FLOW_CMD, "flush")
        self.mirror.flush()
        self.flows.clear()
        yield from seq.poll(reg.FLOW_STATUS, "ready", 1, 100_000)
        generation = yield from seq.get(reg.FLOW_STATUS, "generation")
        if generation != self.mirror.generation:
            raise seq.HostError(
                f"the flow table's generation is {generation}, not {self.mirror.generation}",
                {"class": "TABLE_READBACK", "table": "the flow table"},
            )
        yield from self._check_flows()

    def _check_flows(self) -> Sequence_[None]:
        assert self.mirror is not None
        yield from seq.check_signature(
            reg.FLOW_SIGNATURE, self.mirror.signature, "the flow table", "the block is armed as was"
        )

    # --- arming ---------------------------------------------------------------------------

    def start(self, options: Start) -> Sequence_[None]:
        """Arm; errors raise the interrupt from now on."""
        yield from self._known()
        self.started = options
        yield from seq.poll(reg.FLOW_STATUS, "ready", 1, 100_000)
        yield seq.Write(reg.ERR_IRQ_MASK.address, FATAL)
        yield from seq.arm(hold=options.hold, limit=options.limit)

    def stop(self) -> Sequence_[None]:
        """Disarm: every frame is permitted from the next one on."""
        self.started = None
        yield seq.Write(reg.CTRL.address, 0)

    def beat(self) -> Sequence_[int]:
        """The host's sign of life, and the block's: the cycles it now allows until the next.

        FpgaError when the register does not take it, or when the tables are not this host's
        any more (TABLE_CHANGED).
        """
        yield from seq.beat()
        left = yield seq.Read(reg.HEARTBEAT.address)
        limit = self.started.limit if self.started is not None else 0xFFFFFFFF
        if not 0 < left <= limit and self.started is not None:
            raise seq.HostError(
                f"the block does not take the heartbeat: {left} cycles left of {limit}",
                {"class": "HEARTBEAT_UNANSWERED", "remaining": left, "limit": limit},
            )
        yield from self._check_changed()
        return left

    def _check_changed(self) -> Sequence_[None]:
        """Whether the tables in force are those this host has loaded: another may be at work on
        the same block. FpgaError, and the block is armed as was."""
        if self._loaded is None or self.mirror is None:
            return
        now = reg.PF_STATUS.decode((yield seq.Read(reg.PF_STATUS.address)))
        flow = reg.FLOW_STATUS.decode((yield seq.Read(reg.FLOW_STATUS.address)))
        signed = yield seq.Read(reg.FLOW_SIGNATURE.address)
        for table, what, found, wanted in (
            ("the prefilter's table", "valid", now["valid"], self._loaded["valid"]),
            ("the prefilter's table", "generation", now["generation"], self._loaded["generation"]),
            ("the flow table", "generation", flow["generation"], self.mirror.generation),
            ("the flow table", "signature", signed, self.mirror.signature),
        ):
            if found != wanted:
                raise seq.HostError(
                    f"{table} was changed by another than this driver: {what} {found:#x}, and "
                    f"{wanted:#x} when it was written here last",
                    {"class": "TABLE_CHANGED", "table": table, what: found, "loaded": wanted},
                )

    def poll(self) -> Sequence_[ErrorReport | None]:
        """What the block has to report; None when the interrupt is low."""
        if not (yield seq.Irq()):
            return None
        return (yield from seq.read_errors(registers=True))

    def rearm(self) -> Sequence_[tuple[RearmReason, ...]]:
        """Clear the errors and leave FAULT; the refusals on the way. FpgaError names the last."""
        hold = self.started.hold if self.started is not None else 0
        return (yield from seq.rearm(wait=max(16, hold // 64)))

    def recover(self) -> Sequence_[int]:
        """Reset, identify, reload what was loaded, read it back, arm again if it was armed.

        How many table entries were compared.
        """
        image, flows, started = self.image, dict(self.flows), self.started
        yield seq.Reset()
        self.identity, self.mirror, self.dropped = None, None, 0
        yield from self.identify()
        yield from seq.poll(reg.FLOW_STATUS, "ready", 1, 100_000)
        yield from self.load(image, flows.items())
        compared = yield from self.verify()
        if started is not None:
            yield from self.start(started)
        return compared

    # --- counts ---------------------------------------------------------------------------

    def statistics(self) -> Sequence_[dict[str, int]]:
        """The block's counters of one cycle, at rest.

        FpgaError when frames in are not the sum of the verdicts, or when more frames were
        missing than the block says it dropped.
        """
        found = yield from seq.snapshot()
        total = sum(found[one.name.lower()] for one in Verdict)
        if total != found["frames_in"] or found["block"] < self.dropped:
            raise seq.HostError(
                f"the block's statistics do not add up: {found['frames_in']} frames in, {total} "
                f"verdicts; {found['block']} dropped, {self.dropped} missing",
                {"class": "STATISTICS", "statistics": found, "missing": self.dropped},
            )
        return found

    def state(self) -> Sequence_[State]:
        """The error unit's state."""
        return State((yield from seq.get(reg.STATUS, "state")))

    # --- frames ---------------------------------------------------------------------------

    def sendable(self, length: NDArray[np.uint32]) -> NDArray[np.bool_] | None:
        """Which frames the block takes: none empty or longer than it was built for. None: all."""
        most = self.identity.built["max_frame"] if self.identity is not None else 0xFFFF
        if not len(length) or (int(length.max()) <= most and int(length.min())):
            return None
        return (length > 0) & (length <= most)

    def count(self, verdict: NDArray[np.uint8]) -> None:
        """Note what came back of frames handed over."""
        self.dropped += int(np.count_nonzero(verdict == Verdict.BLOCK))


def frame_arrays(data: Any, offset: Any, length: Any) -> Arrays:
    """What `inspect` is given as arrays: bytes, and one number a frame. Raises OffloadError."""
    try:
        return typed_arrays(data, offset, length)
    except (ValueError, BufferError) as error:
        raise OffloadError(f"{FRAMES_ARE}; {error}") from error


def enrich(error: FpgaError, transport: str, doing: str) -> FpgaError:
    """Every FpgaError says through which transport, and what was being done."""
    evidence: dict[str, Any] = error.evidence
    evidence.setdefault("class", type(error).__name__)
    evidence.setdefault("words", str(error))
    evidence.setdefault("transport", transport)
    evidence.setdefault("doing", doing)
    return error


def _same(table: str, address: int, found: tuple[int, ...], wanted: NDArray[np.uint64]) -> None:
    if found != tuple(wanted.tolist()):
        raise seq.HostError(
            f"{table}, entry {address}: read back {[f'{w:#x}' for w in found]}, "
            f"loaded {[f'{w:#x}' for w in wanted.tolist()]}",
            {"class": "TABLE_READBACK", "table": table, "address": address},
        )
