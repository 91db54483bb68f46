"""The block in the loop: what it says of frames, checked, and what is made of its errors.

`Session` is what the pipeline works with. It asks an `Offload` (the golden model, or a driver of
the real block) for the verdicts of a chunk of frames, lets the golden model judge a share of those
frames again that the block wants to see skipped, gives decided flows to the block's table, and
turns whatever goes wrong into one FpgaError with its evidence:

    judge(chunk) → Engine.process → settle() → FpgaError or None → Guard.fault

A block that fails loudly says so by `poll` or by an exception; one that answers and yet is wrong is
found by the second judgement (docs/fpga.md, Silent faults).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nsdata.assembly import LoadedRules
from nsdata.capture import Batch
from nsdata.config.offload import OffloadSettings
from nsdata.config.settings import Settings
from nsdata.errors import EngineError, FpgaError, OffloadError, SettingError
from nsdata.offload.check import SampledCheck, part_of
from nsdata.offload.coverage import coverage
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.entry import KEY_BITS, MAX_FRAME, FlowAction, FlowEntry, FlowKey, Verdict
from nsdata.offload.image import PrefilterImage, compile_image
from nsdata.offload.model import Model, flow_set
from nsdata.offload.patterns import from_rules
from nsdata.offload.transport import KINDS, open_transport
from nsdata.path.engine import Engine
from nsdata.path.rulebase import Remainder

CHUNK = 64  # frames between two looks for an error
ANY_LENGTH = 0xFFFFFFFF
ETHERNET = 1  # LINKTYPE_ETHERNET: the only frames the block is given
SIZES = ((10, 1), (12, 1), (12, 2), (14, 2), (16, 4))  # tables tried: buckets_log2, words
TRANSPORTS = ("model", "rtl", "cocotb", "pcie:ADDR")  # all but pcie may have a `:…`

Verdicts = NDArray[np.uint8]


class Offload(Protocol):
    """An inspector of verdicts: the block, however it is reached. Every method may raise
    FpgaError; then nothing more is asked of it until `recover`."""

    name: str
    sets_log2: int  # of its flow table, two ways
    table: tuple[int, int] | None  # its prefilter's buckets_log2 and words; None: any

    def load(self, image: PrefilterImage) -> None:
        """Begin with these tables and no flows."""

    def inspect(self, batch: Batch) -> Verdicts:
        """What it says (entry.Verdict) of every frame; frames are Ethernet. FpgaError.verdict
        holds what is known when it fails on the way."""

    def poll(self) -> FpgaError | None:
        """An error since the last call; also the host's sign of life."""

    def insert_flow(self, key: FlowKey, action: FlowAction) -> bool:
        """Put one direction of a flow into the table; False when its set is full."""

    def remove_flow(self, key: FlowKey) -> None:
        """Take it out, if it is in."""

    def flush_flows(self) -> None:
        """Forget all flows."""

    def errors(self) -> Mapping[str, int]:
        """How often it noted an error of each class; raises nothing."""

    def recover(self, image: PrefilterImage) -> None:
        """Reset, load the tables, verify them, re-arm; the flow table is empty then."""

    def close(self) -> None:
        """Let go of it."""


class ModelOffload:
    """The golden model as an Offload: always there, never in error by itself.

    max_frame: longer frames stay with the software, as the driver holds them back from a block.
    """

    name = "model"

    def __init__(self, sets_log2: int = 9, max_frame: int = MAX_FRAME) -> None:
        self.sets_log2 = sets_log2
        self.max_frame = max_frame
        self.table: tuple[int, int] | None = None
        self.model = Model(sets_log2)

    def load(self, image: PrefilterImage) -> None:
        """Begin with these tables and no flows."""
        self.model.load(image.prefilter(), image.ranges)
        self.model.clear()

    def inspect(self, batch: Batch) -> Verdicts:
        """What the model says of every frame; SUSPECT of one longer than `max_frame`."""
        said = self.model.verdicts(batch.data, batch.offset, batch.caplen)
        said[batch.caplen > self.max_frame] = Verdict.SUSPECT
        return said

    def poll(self) -> FpgaError | None:
        """None: a model has no faults."""
        return None

    def insert_flow(self, key: FlowKey, action: FlowAction) -> bool:
        """Into its way, or a free one of its set."""
        place = self._place(key, free=True)
        if place is None:
            return False
        self.model.write(place, FlowEntry(key, action, self.model.generation).words())
        return True

    def remove_flow(self, key: FlowKey) -> None:
        """Take a key out of its set."""
        place = self._place(key, free=False)
        if place is not None:
            self.model.write(place, (0,) * 6)

    def _place(self, key: FlowKey, *, free: bool) -> int | None:
        """Address of the way that holds the key, else (with `free`) of one that holds nothing."""
        packed = key.pack()
        first = 2 * flow_set(packed, self.sets_log2)
        empty = None
        for address in (first, first + 1):
            words = self.model.entries[address].tolist()
            entry = sum(word << 64 * i for i, word in enumerate(words))
            found = FlowEntry.unpack(entry)
            live = found.valid and found.generation == self.model.generation
            if live and entry & (1 << KEY_BITS) - 1 == packed:
                return address
            if not live and empty is None:
                empty = address
        return empty if free else None

    def flush_flows(self) -> None:
        """Forget all flows."""
        self.model.flush()

    def errors(self) -> Mapping[str, int]:
        """None."""
        return {}

    def recover(self, image: PrefilterImage) -> None:
        """These tables, no flows."""
        self.load(image)

    def close(self) -> None:
        """Nothing to let go of."""


def open_offload(spec: str, settings: OffloadSettings | None = None) -> Offload:
    """The block named by `--offload`: the one place where ways to it are made.

    `model` is the golden model itself; everything else goes through the driver: `rtl`, `cocotb`,
    `pcie:ADDR` with what nsdata.offload.transport takes behind the colon, and `model:64`, the
    golden model behind a register file. Raises SettingError for a name that is none,
    OffloadError when it cannot be used here, FpgaError when what answers is no such block.
    """
    settings = settings or OffloadSettings()
    if spec == "model":
        return ModelOffload()
    kind, _, rest = spec.partition(":")
    if kind not in KINDS or (kind == "pcie" and not rest):
        raise SettingError(f"--offload {spec}: legal are {', '.join(TRANSPORTS)}")
    transport = open_transport(spec)
    try:
        return DrivenOffload(
            transport, lambda: open_transport(spec), heartbeat=settings.heartbeat / 1e9
        )
    except BaseException:
        transport.close()
        raise


def image_for(
    rules: LoadedRules,
    tunnels: tuple[int, ...] = (),
    leave_common: float = 100.0,
    table: tuple[int, int] | None = None,
) -> PrefilterImage:
    """The image of the rules for a table of that size (Offload.table); None: the smallest of
    SIZES that holds it.

    tunnels: UDP ports decoded as tunnels (Settings.tunnel_ports). leave_common: percent, as
    the setting. Raises EngineError when no table does, OffloadError when the given one does not.
    """
    wanted = from_rules(rules.ruleset.rules, tunnels)
    for size in SIZES if table is None else (table,):
        try:
            return compile_image(
                wanted, buckets_log2=size[0], words=size[1], most_common=leave_common / 100
            )
        except EngineError as error:
            fault = error
    if table is not None:
        raise OffloadError(
            f"the rules do not fit the block's table of {1 << table[0]} buckets, {table[1]} words "
            f"each: {fault}. Try a block built with larger tables (simulated: "
            "rtl:BUCKETS_LOG2=14,PF_WORDS=2), or --offload-image with the tables of fewer rules"
        ) from fault
    raise fault


def open_session(
    offload: str | Offload,
    engine: Engine,
    rules: LoadedRules,
    settings: Settings,
    image: str | os.PathLike[str] | None = None,
) -> Session:
    """A block beside the engine, loaded with its tables.

    offload: a name `open_offload` knows, or an Offload. image: the tables, a file of `nsdata
    offload compile`; None makes them of the rules. The block is let go of when this fails.
    Raises SettingError, OffloadError, FpgaError, EngineError.
    """
    block = open_offload(offload, settings.offload) if isinstance(offload, str) else offload
    session = Session(block, settings.offload)
    try:
        tables = (
            session.image_for(rules, settings)
            if image is None
            else PrefilterImage.load(image)
        )
        session.attach(engine, rules, tables)
    except BaseException:
        session.close()
        raise
    return session


class Session:
    """An Offload at work beside one engine. Figures are in `stats`."""

    def __init__(self, offload: Offload, settings: OffloadSettings | None = None) -> None:
        self.offload = offload
        self.settings = settings or OffloadSettings()
        self.active = False
        self._failed = False  # out of use until `recover`
        self.errors: list[str] = []
        self.last: dict[str, Any] = {}  # evidence of the last error
        self._golden = ModelOffload(offload.sets_log2, ANY_LENGTH)  # judges what a block took
        self._sampled = SampledCheck(self._golden, self.settings.check_seed)
        self._said = np.zeros(len(Verdict), np.int64)
        self._chunk = np.zeros(0, np.uint8)  # what it said of the last chunk
        self._permitted = 0  # frames of it that the block says it did not inspect
        self._recoveries = self._covered = 0
        self._flows_in = self._flows_full = self._flushes = 0
        self._since: int | None = None  # frames since a restore, while the share comes down
        self._error: FpgaError | None = None
        self._image: PrefilterImage | None = None
        self._remainder: Remainder | None = None

    @property
    def software(self) -> bool:
        """Whether inspection goes on without the block when it fails."""
        return self.settings.on_failure == "software"

    # --- what it works with ------------------------------------------------------------

    def image_for(self, rules: LoadedRules, settings: Settings) -> PrefilterImage:
        """The tables of the rules, of the size this block has (image_for)."""
        return image_for(
            rules, settings.tunnel_ports(), settings.offload.leave_common, self.offload.table
        )

    def attach(self, engine: Engine, rules: LoadedRules, image: PrefilterImage) -> None:
        """Load the block with `image` and spare `engine` what it covers of its `rules`.

        At the start, and again after Engine.swap_rules; a block that has failed is loaded with
        it when it is brought back. Raises FpgaError, OffloadError; then the block is out of use.
        """
        covered = coverage(image, rules.ruleset.rules)
        self._covered = int(covered.sum())
        self._remainder = Remainder(rules.base, covered)
        self._image = image
        self._golden.load(image)
        if self._failed:
            return
        self.active = False
        engine.set_offload(None)
        try:
            self.offload.load(image)
        except FpgaError as error:
            self._fail(engine, error)
            raise
        self._begin(engine)

    def _begin(self, engine: Engine) -> None:
        assert self._image is not None
        engine.set_offload(
            self._image.prefilter(), self._remainder, self.settings.shunt,
            self.settings.shunt_dropped,
        )  # fmt: skip
        self.active, self._failed = True, False

    def share(self) -> float:
        """The share of frames judged twice, now."""
        base = self.settings.check_share
        if self._since is None:
            return base
        now = float(0.5 ** (self._since // self.settings.restore_frames))
        if now <= max(base, 1e-3):
            self._since = None
            return base
        return now

    # --- a chunk of frames --------------------------------------------------------------

    def judge(self, batch: Batch, number: int) -> Verdicts | None:
        """What Engine.process is to be told of the frames; None: nothing is known of them.

        number: of the first frame in the run, 1-based.
        """
        if not self.active:
            return None
        verdicts = np.full(len(batch), Verdict.SUSPECT, np.uint8)
        known = np.flatnonzero(batch.linktype == ETHERNET)
        if len(known):
            part = batch if len(known) == len(batch) else part_of(batch, known)
            verdicts[known] = self._inspect(part)
        self._chunk = np.minimum(verdicts, Verdict.BLOCK)
        self._said += np.bincount(self._chunk, minlength=len(Verdict))
        self._permitted = int(np.count_nonzero(self._chunk == Verdict.FAULT))
        if self._error is None:
            self._check(batch, verdicts, number)
        if self.software:
            verdicts[verdicts == Verdict.FAULT] = Verdict.SUSPECT
        return verdicts

    def _inspect(self, batch: Batch) -> Verdicts:
        """The block's verdicts; those it did not come to are FAULT."""
        try:
            said = np.asarray(self.offload.inspect(batch), np.uint8)
        except FpgaError as error:
            self._error = error
            said = np.asarray(() if error.verdict is None else error.verdict, np.uint8)
        if len(said) == len(batch):
            return said
        if self._error is None:
            self._error = FpgaError(
                f"{len(said)} verdicts for {len(batch)} frames",
                {"class": "verdicts", "frames": len(batch), "accounted": len(said)},
            )
        result = np.zeros(len(batch), np.uint8)  # FAULT
        result[: len(said)] = said[: len(batch)]
        return result

    def _check(self, batch: Batch, verdicts: Verdicts, number: int) -> None:
        """Judge some of the frames to be skipped again, and have them inspected in full."""
        share = self.share()
        if self._since is not None:
            self._since += len(batch)
        self._error = self._sampled.look(batch, verdicts, number, share)

    def settle(self, engine: Engine) -> FpgaError | None:
        """After the frames of `judge` were processed: flows to the block, errors from it.

        An error is returned once; the block is then out of use until `recover`.
        """
        offers, flush = engine.shunts()
        permitted, self._permitted = self._permitted, 0
        if not self.active:
            return None
        error = self._error
        if error is None:
            try:
                self._flows(offers, flush)
                error = self.offload.poll()
            except FpgaError as raised:
                error = raised
        if error is None and permitted:
            error = FpgaError(
                f"the FPGA permitted {permitted} frames uninspected and reports no error",
                {"class": "unexplained", "frames": permitted},
            )
        if error is not None:
            self._fail(engine, error)
        return error

    def _fail(self, engine: Engine, error: FpgaError) -> None:
        self.active, self._failed = False, True
        self._error = None
        self.errors.append(str(error))
        self.last = {"error": str(error), "transport": self.offload.name, **error.evidence}
        engine.set_offload(None)

    def _flows(self, offers: NDArray[np.void], flush: bool) -> None:
        if flush:
            self._flushes += 1
            self.offload.flush_flows()
            self._golden.flush_flows()
        for raw, kind in offers:
            key = FlowKey.unpack(int.from_bytes(raw.tobytes(), "little"))
            if kind == FlowAction.NONE:
                self.offload.remove_flow(key)
                self._golden.remove_flow(key)
            elif not flush and self.offload.insert_flow(key, FlowAction(int(kind))):
                self._golden.insert_flow(key, FlowAction(int(kind)))
                self._flows_in += 1
            else:
                self._flows_full += 1

    # --- after an error ------------------------------------------------------------------

    def recover(self, engine: Engine) -> bool:
        """Reset the block, load and verify its tables, re-arm; True when it is in use again.

        The share of frames judged twice then begins at 1 and comes down.
        """
        if self.active or self._image is None:
            return self.active
        try:
            self.offload.recover(self._image)
            self._golden.recover(self._image)
            self._begin(engine)
        except FpgaError as error:
            self._fail(engine, error)
            return False
        except OffloadError as error:  # tables it was given meanwhile do not fit
            self._fail(engine, FpgaError(str(error), {"class": "OffloadError"}))
            return False
        self._recoveries += 1
        self._since = 0
        return True

    @property
    def restoring(self) -> bool:
        """Whether more frames are judged twice than the settings say, as a restore was lately."""
        return self.active and self._since is not None

    def said(self, ahead: int = 0) -> list[int]:
        """Frames so far by what the block said (entry.Verdict), without the last `ahead` frames
        of the last chunk."""
        rest = self._chunk[max(len(self._chunk) - ahead, 0) :]
        counts: list[int] = (self._said - np.bincount(rest, minlength=len(Verdict))).tolist()
        return counts

    def stats(self) -> Mapping[str, Any]:
        """Figures of the run: frames by what the block said, checks, flows, errors."""
        return {
            "transport": self.offload.name,
            **self.figures(),
            "block_errors": dict(self.offload.errors()),
            "errors": list(self.errors),
        }

    def figures(self) -> dict[str, Any]:
        """Those of them for which the block is not asked."""
        said = dict(zip((v.name.lower() for v in Verdict), self._said.tolist(), strict=True))
        frames = int(self._said.sum())
        spared = said["clear"] + said["bypass"]
        return {
            "active": self.active,
            "verdicts": said,
            "spared_share": round(spared / frames, 6) if frames else 0.0,
            "rules_covered": self._covered,
            "checks": self._sampled.checks,
            "disagreements": self._sampled.disagreements,
            "flows_inserted": self._flows_in,
            "flows_refused": self._flows_full,
            "flushes": self._flushes,
            "recoveries": self._recoveries,
        }

    def close(self) -> None:
        """Let go of the block."""
        self.offload.close()
