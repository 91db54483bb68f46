"""The block's registers and states in Python, around the golden model.

It behaves as hdl/ does for everything a driver touches: identity, control and arming, errors
(injected ones strike where the circuit's would), both tables with their signatures, heartbeat,
statistics. Time is counted in cycles: an access takes BUS of them, a frame as many as its beats.
What is only about speed (back-pressure, the progress of the scrubber) is approximate.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nsdata.errors import BusFault
from nsdata.offload import registers as reg
from nsdata.offload.entry import ENTRY_WORDS, MAX_FRAME, PORT_RANGES, Verdict
from nsdata.offload.error_model import BEATS, FLOW_TABLE, PF_TABLE, PINS, info_of, too_long
from nsdata.offload.model import Model, Prefilter, signature
from nsdata.offload.registers import ErrorClass, RearmReason, State
from nsdata.offload.report import FATAL
from nsdata.offload.scrub_model import Scrubber, pass_cycles
from nsdata.offload.silent import Wrong

BUS = 8  # cycles of a register access
SETTLE = 48  # of arming: the spine drained, inspection reset, settled
COMMAND = 64  # of a table command
FLIGHT = 24  # from a frame's last beat in to its last beat out
BY_ADDRESS = {register.address: register for register in reg.REGISTERS.values()}


class BlockModel:
    """One block; `parameters` are nsd_top's."""

    def __init__(
        self,
        data_w: int = 64,
        *,
        sets_log2: int = 9,
        buckets_log2: int = 10,
        pf_words: int = 1,
        depth: int = 64,
        latency: int = 18,
        max_frame: int = MAX_FRAME,
        stall_limit: int = 1024,
        clock_khz: int = 156_250,
    ) -> None:
        self.data_w = data_w
        self.sets_log2, self.buckets_log2, self.pf_words = sets_log2, buckets_log2, pf_words
        self._pass_cycles = pass_cycles(2 << sets_log2, ENTRY_WORDS)
        self.max_frame, self.depth = max_frame, depth
        self.stall_limit = stall_limit
        self.seu = self.over_temp = False
        self.wrong = Wrong(data_w // 8)  # silent faults, which a reset does not take away
        self._constant = {
            reg.ID.address: reg.ID.reset,
            reg.VERSION.address: reg.VERSION.reset,
            reg.BUILD_DATAPATH.address: reg.BUILD_DATAPATH.encode(data_w=data_w, depth=depth),
            reg.BUILD_TABLES.address: reg.BUILD_TABLES.encode(
                sets_log2=sets_log2, ways=2, buckets_log2=buckets_log2, pf_words=pf_words,
                port_ranges=PORT_RANGES,
            ),
            reg.BUILD_TIMING.address: reg.BUILD_TIMING.encode(
                latency=latency, max_frame=max_frame
            ),
            reg.CLOCK_KHZ.address: clock_khz,
            reg.ERR_FATAL.address: FATAL,
            reg.FLOW_CAPACITY.address: 2 << sets_log2,
        }  # fmt: skip
        self._writes: dict[int, Callable[[int], None]] = {
            reg.CTRL.address: self._control,
            reg.HEARTBEAT.address: self._beat,
            reg.ERR_STATUS.address: self._clear_status,
            reg.ERR_INJECT.address: self._inject,
            reg.ERR_CLEAR.address: self._clear_errors,
            reg.FLOW_CMD.address: self._flow_command,
            reg.PF_CMD.address: self._prefilter_command,
            reg.STAT_CMD.address: self._snapshot,
        }
        self._reads: dict[int, Callable[[], int]] = {
            reg.STATUS.address: self._status,
            reg.HEARTBEAT.address: lambda: self._remaining,
            reg.ERR_STATUS.address: lambda: self._sticky,
            reg.FLOW_STATUS.address: self._flow_status,
            reg.FLOW_SIGNATURE.address: lambda: self._flow_signature,
            reg.PF_STATUS.address: self._prefilter_status,
            reg.PF_SIGNATURE.address: lambda: self._pf_signature,
        }
        self.reset()

    def reset(self) -> None:
        """The state after reset: everything passes, the tables are empty."""
        self.cycle = 0
        self.model = Model(self.sets_log2)
        self._words = {r.address: r.reset for r in reg.REGISTERS.values()}
        self._words |= self._constant
        self._state = State.DISARMED
        self._settled = 0  # the cycle in which ARMING, RESETTING end
        self._fault = False
        self._sticky = 0
        self._counts = [0] * len(ErrorClass)
        self._pending: set[ErrorClass] = set()
        self._check_at = 0  # the cycle in which an injected table error is found
        self.scrubber = Scrubber()
        self._remaining = 0
        self._hold_until = 0
        self._refused, self._reason = 0, RearmReason.NONE
        self._pins_seen = [False, False]
        self._flow_busy = 2 << self.sets_log2
        self._flow_ready = self._flow_busy
        self._flow_error = 0
        self._flow_signature = 0
        self._buckets: NDArray[np.uint64] = np.zeros(
            (1 << self.buckets_log2, self.pf_words), np.uint64
        )
        self._pf_busy = 1 << self.buckets_log2
        self._pf_valid = self._pf_failed = self._pf_error = 0
        self._pf_generation = 0
        self._pf_commit: Prefilter | None = None  # being checked
        self._pf_matches = False
        self._pf_signature = 0
        self.wrong.copies = None
        self._frames = [0] * 8
        self._frames_in = self._beats_in = 0

    # --- time -----------------------------------------------------------------------------

    def advance(self, cycles: int) -> None:
        """Let time pass, stopping wherever something is due."""
        end = self.cycle + cycles
        while True:
            before = self._state
            self._decide()
            if self.cycle >= end:
                return
            due = [end]
            if self._remaining:
                due.append(self.cycle + self._remaining)
            if self._state in (State.ARMING, State.RESETTING):
                due.append(self._settled)
            if ErrorClass.TABLE_CRC in self._pending:
                due.append(self._check_at)
            if self._pf_commit is not None:
                due.append(self._pf_busy)
            due += self.scrubber.ends.values()
            step = 1 if self._state != before else max(min(due) - self.cycle, 1)
            self.cycle += step
            self._remaining = max(self._remaining - step, 0)

    def _decide(self) -> None:
        for i, (level, error) in enumerate(zip((self.seu, self.over_temp), PINS, strict=True)):
            if level and not self._pins_seen[i]:
                self._strike(error)
            self._pins_seen[i] = level
        if ErrorClass.TABLE_CRC in self._pending and self.cycle >= self._check_at:
            self._pending.discard(ErrorClass.TABLE_CRC)
            self._strike(ErrorClass.TABLE_CRC)
        self._checked()
        for number in self.scrubber.ended(self.cycle):
            self._scrubbed(number)
        if self._state == State.ARMED and not self._remaining:
            self._strike(ErrorClass.HEARTBEAT)
        enabled = self._words[reg.CTRL.address] & 1
        if self._state == State.RESETTING:
            if self.cycle >= self._settled:
                self._state = State.FAULT if self._fault else State.DISARMED
        elif self._fault:
            self._state = State.FAULT
        elif self._state == State.ARMED and not enabled:
            self._state = State.DISARMED
        elif self._state == State.ARMING:
            if not enabled or not self._remaining:
                self._state = State.DISARMED
            elif self.cycle >= self._settled:
                self._state = State.ARMED
        elif self._state == State.DISARMED and enabled and self._remaining:
            self._state, self._settled = State.ARMING, self.cycle + SETTLE

    def _strike(self, error: ErrorClass, cycle: int | None = None, info: int = -1) -> None:
        """A detector's strobe."""
        self._sticky |= 1 << error
        self._counts[error] = min(self._counts[error] + 1, 0xFFFF)
        first = self._words[reg.FIRST_ERROR.address]
        fatal = bool(FATAL >> error & 1)
        if not first & 1 or (first >> 4 == ErrorClass.ECC_CE and fatal):
            when = self.cycle if cycle is None else cycle
            self._words[reg.FIRST_ERROR.address] = 1 | error << 4
            said = info if info >= 0 else info_of(error, self._beats_in, self.depth)
            self._words[reg.FIRST_INFO.address] = said
            self._words[reg.FIRST_CYCLE_LO.address] = when & 0xFFFFFFFF
            self._words[reg.FIRST_CYCLE_HI.address] = when >> 32
        if fatal:
            self._fault = True
            self._hold_until = self.cycle + self._words[reg.HOLD_CYCLES.address]
            if self._state != State.RESETTING:
                self._state = State.FAULT

    def pins(self, *, seu: bool = False, over_temp: bool = False) -> None:
        """The device's error pins."""
        self.seu, self.over_temp = seu, over_temp

    @property
    def irq(self) -> bool:
        """The interrupt pin."""
        return bool(self._sticky & self._words[reg.ERR_IRQ_MASK.address])

    # --- registers ------------------------------------------------------------------------

    def read(self, address: int) -> int:
        """Read a register. Raises BusFault."""
        self.advance(BUS)
        register = BY_ADDRESS.get(address & ~3)
        if register is None or not register.readable:
            raise BusFault(f"model: read of {address:#05x}: SLVERR")
        special = self._reads.get(register.address)
        if special is not None:
            return special()
        if reg.ERR_COUNT[0].address <= register.address <= reg.ERR_COUNT[-1].address:
            return self._counts[(register.address - reg.ERR_COUNT[0].address) // 4]
        if register in reg.SCRUB_PASSES:
            return self.cycle // self._pass_cycles
        return self._words[register.address]

    def write(self, address: int, value: int) -> None:
        """Write a register. Raises BusFault."""
        register = BY_ADDRESS.get(address & ~3)
        if register is None or not register.writable:
            self.advance(BUS)
            raise BusFault(f"model: write of {address:#05x}: SLVERR")
        mask = 0
        for one in register.fields:
            if one.access in ("rw", "w") and not one.strobe:
                mask |= one.mask
        if register is not reg.HEARTBEAT:
            old = self._words[register.address]
            self._words[register.address] = (old & ~mask) | (value & mask)
        special = self._writes.get(register.address)
        if special is not None:
            special(value)
        self.advance(BUS)

    def _status(self) -> int:
        return reg.STATUS.encode(
            state=self._state, armed=self._state == State.ARMED, fault=self._fault, drained=1,
            heartbeat_alive=self._remaining > 0, irq=self.irq, flow_ready=self._flow_is_ready(),
            flow_busy=self.cycle < self._flow_busy, pf_valid=self._prefilter_status() >> 2 & 1,
            pf_busy=self.cycle < self._pf_busy, rearm_refused=self._refused,
            rearm_reason=self._reason,
        )  # fmt: skip

    def _control(self, value: int) -> None:
        if value & 4:
            self._state, self._settled = State.RESETTING, self.cycle + SETTLE
        if value & 2:
            self._reason = self._refusal()
            self._refused = int(self._reason != RearmReason.NONE)
            if not self._refused:
                self._fault, self._state = False, State.DISARMED

    def _refusal(self) -> RearmReason:
        if self._state != State.FAULT:
            return RearmReason.NOT_IN_FAULT
        if self.cycle < self._hold_until:
            return RearmReason.HOLD
        if self.seu or self.over_temp:
            return RearmReason.CAUSE_ACTIVE
        if self._sticky & FATAL:
            return RearmReason.STATUS_STICKY
        return RearmReason.NONE

    def _beat(self, value: int) -> None:
        self._remaining = self._words[reg.HEARTBEAT_LIMIT.address]

    def _clear_status(self, value: int) -> None:
        self._sticky &= ~value

    def _clear_errors(self, value: int) -> None:
        if value & 1:
            self._words[reg.FIRST_ERROR.address] = 0
        if value & 2:
            self._counts = [0] * len(ErrorClass)

    def _inject(self, value: int) -> None:
        for error in ErrorClass:
            if not value >> error & 1:
                continue
            if error == ErrorClass.HEARTBEAT:
                self._remaining = 0
            elif error in PINS:
                if not (self.seu, self.over_temp)[PINS.index(error)]:  # it says no more than that
                    self._strike(error)
            else:
                self._pending.add(error)
                if error == ErrorClass.TABLE_CRC:
                    rest = self._pass_cycles - self.cycle % self._pass_cycles
                    self._check_at = self.cycle + rest

    # --- tables that are not what was loaded ----------------------------------------------

    def table(self, number: int) -> NDArray[np.uint64]:
        """FLOW_TABLE or PF_TABLE as it stands: uint64 [entries, words]."""
        return self.model.entries if number == FLOW_TABLE else self._buckets

    def changed(self, number: int, entry: int) -> None:
        """`table` has been written to behind the block's back: it is looked up, and scrubbed."""
        if number == PF_TABLE and self._pf_valid:
            self.model.load(self.prefilter(), self._ranges)
        self.scrubber.suspect(number, entry, self.cycle, self.table(number).shape)

    def _scrubbed(self, number: int) -> None:
        """A pass over a table has ended: it is what was loaded, or an error each time."""
        if number == FLOW_TABLE:
            wrong = signature(self.model.entries) != self._flow_signature
        else:
            self._prefilter_status()
            wrong = signature(self._buckets) != self._pf_signature or self.wrong.copies is not None
            wrong &= bool(self._pf_valid)
        if wrong:
            self._strike(ErrorClass.TABLE_CRC, info=number << 29)
            self.scrubber.suspect(number, 0, self.cycle, self.table(number).shape)

    # --- the flow table -------------------------------------------------------------------

    def _flow_is_ready(self) -> bool:
        return self.cycle >= self._flow_ready

    def _flow_status(self) -> int:
        return reg.FLOW_STATUS.encode(
            busy=self.cycle < self._flow_busy, error=self._flow_error,
            ready=self._flow_is_ready(), generation=self.model.generation,
        )  # fmt: skip

    def _flow_command(self, value: int) -> None:
        write, read, clear, flush = (value >> i & 1 for i in range(4))
        wipe = bool(flush and self.model.generation == 0xFF)
        if flush:
            self.model.generation = (self.model.generation + 1) & 0xFF
        if write or read or clear:
            busy = self.cycle < self._flow_busy
            self._flow_error = int(busy or write + read + clear > 1)
            wipe |= bool(clear and not busy)
            if not (busy or clear):
                self._flow_busy = self.cycle + COMMAND
                self._flow_entry(bool(write), bool(read))
        if wipe:
            self.model.clear()
            self._flow_signature = 0
            self._flow_busy = self._flow_ready = self.cycle + (2 << self.sets_log2)

    def _flow_entry(self, write: bool, read: bool) -> None:
        address = self._words[reg.FLOW_ADDR.address] & ((2 << self.sets_log2) - 1)
        row = self.model.entries[address : address + 1]
        if write:
            self._flow_signature ^= signature(row, address)
            row[0] = self._wide(reg.FLOW_WDATA[0].address, ENTRY_WORDS)
            self._flow_signature ^= signature(row, address)
        elif read:
            self._show(reg.FLOW_RDATA[0].address, row[0])

    def _wide(self, address: int, words: int) -> list[int]:
        at = range(address, address + 8 * words, 8)
        return [self._words[a] | self._words[a + 4] << 32 for a in at]

    def _show(self, address: int, row: NDArray[np.uint64]) -> None:
        for i, word in enumerate(row.tolist()):
            self._words[address + 8 * i] = word & 0xFFFFFFFF
            self._words[address + 8 * i + 4] = word >> 32

    # --- the prefilter --------------------------------------------------------------------

    def _prefilter_status(self) -> int:
        self._checked()
        return reg.PF_STATUS.encode(
            busy=self.cycle < self._pf_busy, error=self._pf_error, valid=self._pf_valid,
            commit_failed=self._pf_failed, generation=self._pf_generation,
        )  # fmt: skip

    def _checked(self) -> None:
        """The check of a commit is over: the table is in force, or an error."""
        if self._pf_commit is None or self.cycle < self._pf_busy:
            return
        if self._pf_matches:
            self._pf_valid, self._pf_generation = 1, self._pf_generation + 1 & 0xFFFF
            self.model.load(self._pf_commit, self._ranges)
            self.wrong.ranges = self._ranges
        else:
            self._pf_failed = 1
            self._strike(ErrorClass.TABLE_CRC, info=PF_TABLE << 29)
        self._pf_commit = None

    def _prefilter_command(self, value: int) -> None:
        self._prefilter_status()
        begin, write, read, commit = (value >> i & 1 for i in range(4))
        busy = self.cycle < self._pf_busy
        if begin:
            self._pf_error = int(write or read or commit)
            self._pf_valid, self._pf_commit = 0, None
            self.model.load(None, ())
            self._buckets[:] = 0
            self._pf_signature = 0
            self.wrong.copies = None
            self._pf_busy = self.cycle + (1 << self.buckets_log2)
        elif commit:
            self._pf_error = int(self._pf_valid or busy or write or read)
            if not (self._pf_valid or busy):
                self._commit()
        elif write or read:
            refused = busy or (write and self._pf_valid)
            self._pf_error = int(refused or (write and read))
            if not refused:
                address = self._words[reg.PF_ADDR.address] & ((1 << self.buckets_log2) - 1)
                if write:
                    row = self._buckets[address : address + 1]
                    self._pf_signature ^= signature(row, address)
                    row[0] = self._wide(reg.PF_WDATA[0].address, self.pf_words)
                    self._pf_signature ^= signature(row, address)
                else:
                    self._show(reg.PF_RDATA[0].address, self._buckets[address])
                self._pf_busy = self.cycle + COMMAND

    def _commit(self) -> None:
        seed = self._words[reg.PF_SEED.address]
        self._ranges = [
            self._words[ports.address] | self._words[protocols.address] << 32
            for ports, protocols in zip(reg.PF_RANGE_PORTS, reg.PF_RANGE_PROTOCOLS, strict=True)
        ]
        extra = np.zeros((1 + PORT_RANGES, self.pf_words), np.uint64)
        extra[:, 0] = [seed, *self._ranges]
        found = signature(self._buckets) ^ signature(extra, len(self._buckets))
        self._pf_busy = self.cycle + pass_cycles(len(self._buckets), self.pf_words)
        self._pf_failed, self._pf_matches = 0, found == self._words[reg.PF_EXPECT.address]
        self._pf_commit = self.prefilter()

    def prefilter(self, table: NDArray[np.uint64] | None = None) -> Prefilter:
        """A table, or the block's as it stands, with the seed of the registers."""
        table = self._buckets if table is None else table
        seed = self._words[reg.PF_SEED.address]
        return Prefilter(table, seed, self.buckets_log2, self.pf_words)

    # --- frames ---------------------------------------------------------------------------

    def inspect(
        self, data: NDArray[np.uint8], offset: NDArray[np.uint64], length: NDArray[np.uint32]
    ) -> NDArray[np.uint8]:
        """Frames through the block: the verdict of each. All of it without a cycle between."""
        self.advance(1)
        self._prefilter_status()
        lanes = self.data_w // 8
        beats = (length + np.uint32(lanes - 1)) >> np.uint32(lanes.bit_length() - 1)
        took = int(beats.sum())
        armed = self._state == State.ARMED
        if self._pending & BEATS or (armed and ErrorClass.LATE in self._pending):
            self._strike_frames(armed)
            armed = self._state == State.ARMED
        good = len(length)
        if int(length.max(initial=0)) > self.max_frame:
            good = int((length > self.max_frame).argmax())
        # What entered armed before the heartbeat ran out has left by then, all but the last.
        exact = good if armed else 0
        if took >= self._remaining:
            exact = min(exact, int(np.searchsorted(np.cumsum(beats), self._remaining)))
        model = self.model if self._flow_is_ready() else self._without_flows()
        verdict = np.full(len(length), Verdict.FAULT, np.uint8)
        verdict[:exact] = self.wrong.verdicts(model, data, offset[:exact], length[:exact])
        if good < len(length):
            self._strike(ErrorClass.AXI_FAULT, info=too_long(self.max_frame, lanes))
        self.advance(took + FLIGHT)
        self._frames_in += len(length)
        self._beats_in += took
        for value, count in enumerate(np.bincount(verdict, minlength=8).tolist()):
            self._frames[value] += count
        return verdict

    def _without_flows(self) -> Model:
        model = Model(1)
        if self._pf_valid:
            model.load(self.prefilter(), self._ranges)
        return model

    def _strike_frames(self, armed: bool) -> None:
        """What was injected into the path of frames meets the first of them."""
        for error in sorted(self._pending):
            if error in BEATS or (armed and error == ErrorClass.LATE):
                self._pending.discard(error)
                if error == ErrorClass.STALL:
                    self.advance(self.stall_limit)
                self._strike(error, self.cycle + FLIGHT)

    def _snapshot(self, value: int) -> None:
        if not value & 1:
            return
        numbers = {
            "cycle": self.cycle, "frames_in": self._frames_in, "beats_in": self._beats_in,
            "backpressure": 0,
        } | {one.name.lower(): self._frames[one] for one in Verdict}  # fmt: skip
        for name, number in numbers.items():
            self._words[reg.REGISTERS[f"stat_{name}.lo"].address] = number & 0xFFFFFFFF
            self._words[reg.REGISTERS[f"stat_{name}.hi"].address] = number >> 32
