"""A worker's process: the batches of its ring through the pipeline that replay uses.

It decides nothing about fallback: it judges what it is given, says of each slot what became of its
frames, and hands events to the writer. Rules are compiled beside the packets, in a thread, and
exchanged between two batches.
"""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nsdata.appliance.channel import LARGEST, Message, close_all
from nsdata.appliance.child import BEAT_NS, PUBLISH_NS, Child
from nsdata.appliance.memory import worker_ring
from nsdata.assembly import LoadedRules, build_engine
from nsdata.capture import Batch
from nsdata.config.settings import Settings
from nsdata.errors import EngineError, NsdataError
from nsdata.fallback.drop_meter import DropMeter
from nsdata.fallback.guard import Guard
from nsdata.fallback.reasons import State
from nsdata.offload import registers
from nsdata.offload.description import Describer
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.session import Session, open_session
from nsdata.output.events import EveWriter
from nsdata.path.engine import Engine
from nsdata.path.ring import Ring
from nsdata.pipeline import Pipeline
from nsdata.rules.ruleset import load_rules

IDLE_NS = 200_000  # between two looks at an empty ring
EVENT_ROOM = 1 << 22  # bytes of events kept while the writer does not take them
# Words of the status page, in order.
FIGURES = (
    "batches", "frames", "lines_sent", "events_lost", "reloads", "rules",
    "suppressed_alerts",  # not written, since they were suspended
    "verified_packets", "verified_bytes",  # of which rules were verified in full
)  # fmt: skip
NOBODY_JUDGES = 1 << 62  # packets in a window
REPORT_NS = 500_000_000  # between two reports of what rules dropped and cost, at most
RULES_TOLD = 1000  # of whose costs, or drops, a message tells
RECOVER_NS = 1_000_000_000  # between two tries to bring the block back


class Events:
    """Events on their way to the writer: whole lines, a datagram at a time, bounded."""

    def __init__(self) -> None:
        self.end: socket.socket | None = None
        self.waiting: list[bytes] = []
        self.size = 0
        self.sent = 0  # lines
        self.lost = 0  # lines that found no room, or were too long

    def to(self, end: socket.socket | None) -> None:
        """The writer's end from now on."""
        if self.end is not None:
            self.end.close()
        self.end = end
        if end is not None:
            end.setblocking(False)

    def add(self, lines: bytes) -> None:
        """Take whole lines."""
        for part in split(lines):
            if len(part) > LARGEST or self.size + len(part) > EVENT_ROOM:
                self.lost += part.count(b"\n")
            else:
                self.waiting.append(part)
                self.size += len(part)

    def push(self) -> None:
        """Hand over what the writer takes now."""
        while self.waiting and self.end is not None:
            try:
                self.end.send(self.waiting[0])
            except BlockingIOError:
                return
            except OSError:  # it is gone: the next one gets them
                self.to(None)
                return
            part = self.waiting.pop(0)
            self.size -= len(part)
            self.sent += part.count(b"\n")


def split(lines: bytes) -> list[bytes]:
    """Whole lines in parts of LARGEST bytes at most; a line that is longer stands alone."""
    parts = []
    at = 0
    while len(lines) - at > LARGEST:
        cut = lines.rfind(b"\n", at, at + LARGEST) + 1
        if cut <= at:
            cut = lines.find(b"\n", at) + 1
        parts.append(lines[at:cut])
        at = cut
    return [*parts, lines[at:]] if at < len(lines) else parts


def worker_types(types: Iterable[str]) -> list[str]:
    """What a worker writes of these event types. Its own guard knows of the block only: the
    supervisor says what state there is."""
    return [str(one) for one in types if one != "fallback"]


class RunningRules:
    """The rules of an engine from their load on: switched by sid, and what they cost told a part
    at a time."""

    def __init__(self, engine: Engine, sids: Sequence[int]) -> None:
        self._engine = engine
        self._sids = sids
        self._told = np.zeros_like(self._now())
        self._disabled: frozenset[int] = frozenset()

    def disable(self, sids: Iterable[int]) -> None:
        """These are off from now on, and no others; those it does not have are left out."""
        disabled = frozenset(sids)
        for number, sid in enumerate(self._sids):
            if (sid in disabled) is not (sid in self._disabled):
                self._engine.switch_rule(number, sid not in disabled)
        self._disabled = disabled

    def _now(self) -> npt.NDArray[np.uint64]:
        """Rows: the fields of RuleCost; columns: source rules."""
        costs, matched = self._engine.rule_costs(), self._engine.rule_counts()["matched"]
        return np.stack([costs["checked"], matched, costs["ns"], costs["verified"]])

    def tell(self, child: Child) -> None:
        """What they cost since; what is not taken is told the next time."""
        now = self._now()
        more = now - self._told
        changed = np.flatnonzero(more[0])
        for start in range(0, len(changed), RULES_TOLD):
            part = changed[start : start + RULES_TOLD]
            by_rule: dict[int, list[int]] = {}
            for number, row in zip(part, more[:, part].T.tolist(), strict=True):
                sid = self._sids[number]  # of several rules when their gid differs
                by_rule[sid] = _sum(by_rule[sid], row) if sid in by_rule else row
            if not child.tell("costs", by_rule=by_rule):
                return
            self._told[:, part] = now[:, part]


class Compiling:
    """Rules compiled in a thread, beside the packets. One that takes too long is left to itself:
    nobody wants its result."""

    def __init__(self, rules: list[str], settings: Settings, before: LoadedRules,
                 limit_ns: int) -> None:  # fmt: skip
        self.settings = settings
        self.limit_ns = limit_ns
        self.until_ns = time.monotonic_ns() + limit_ns
        self.result: LoadedRules | NsdataError | None = None
        self._given = rules, settings, before
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        # A collection over all objects of a large rule set takes a quarter of a second, in which
        # nothing is inspected: none while they are made, and then they are left alone.
        gc.disable()
        try:
            self.result = compiled(*self._given)
        except NsdataError as error:
            self.result = error
        except Exception as error:  # nobody expected it; the rules that run go on
            self.result = EngineError(f"{type(error).__name__}: {error}")
        finally:
            gc.freeze()
            gc.enable()

    def over(self, now: int) -> bool:
        """It has a result, or will not be waited for any longer."""
        if not self._thread.is_alive():
            return True
        if now < self.until_ns:
            return False
        gc.enable()
        self.result = EngineError(
            f"not compiled within {self.limit_ns / 1e9:g} s (watch.start-grace)"
        )
        return True


def compiled(rules: list[str], settings: Settings, before: LoadedRules | None) -> LoadedRules:
    """Rule files, ready to run. Raises NsdataError."""
    ruleset = load_rules([Path(path) for path in rules], settings)
    return LoadedRules.build(ruleset, settings, before)


class WorkerProcess:
    """The loop. `plan`: rules, settings (by key), inline, seed, offload (a name, or None)."""

    def __init__(self, child: Child, plan: dict[str, Any]) -> None:
        self.child = child
        self.settings = Settings.load(sets=plan["settings"])
        self.ring: Ring | None = None
        self.events = Events()
        self.loaded = compiled(plan["rules"], self.settings, None)
        engine = build_engine(
            self.loaded, self.settings, inline=plan.get("inline", True), seed=plan.get("seed", 0)
        )
        eve = self.settings.outputs.eve
        writer = EveWriter(None, worker_types(eve.types), payload=eve.payload, packet=eve.packet)
        # The supervisor judges drops, over all workers.
        guard = Guard.build(DropMeter(minimum_packets=NOBODY_JUDGES))
        self.offload: Session | None = None
        if plan.get("offload"):
            self.offload = open_session(plan["offload"], engine, self.loaded, self.settings)
        self.describer = None if self.offload is None else Describer(self.offload)
        self.pipeline = Pipeline(engine, guard, writer, offload=self.offload)
        self.pipeline.set_rules(self.loaded.fragments, self.loaded.sids)
        self.block_failed = False  # and the supervisor was told
        self.block_ns = 0  # when to look after it again
        self.counts = engine.counts()
        self.batches = self.reloads = 0
        self.compiling: Compiling | None = None
        self.next_reload: Message | None = None  # after the one under way
        self.reported: dict[int, int] = {}
        self.report_ns = self.publish_ns = 0
        self.words = np.zeros(len(FIGURES), np.uint64)
        self.running = RunningRules(engine, self.loaded.sids)
        for what in ("ring", "unring", "writer", "reload", "inject", "protect", "describe"):
            child.on(what, getattr(self, f"_{what}"))

    # --- orders -----------------------------------------------------------------------------

    def _ring(self, message: Message, descriptors: list[int]) -> None:
        self.ring = worker_ring(*descriptors)
        close_all(descriptors)

    def _unring(self, message: Message, descriptors: list[int]) -> None:
        self.ring = None  # the port is gone, and what it gave with it

    def _inject(self, message: Message, descriptors: list[int]) -> None:
        """An error of this class from the block, as its own register brings it about."""
        block = None if self.offload is None else self.offload.offload
        if isinstance(block, DrivenOffload):
            error = registers.ErrorClass[message["error"]]
            block.driver.transport.write(registers.ERR_INJECT.address, 1 << error)

    def _protect(self, message: Message, descriptors: list[int]) -> None:
        """What holds from now on: whether alerts are written, and which rules (sid) are off."""
        self.pipeline.engine.suspend_alerts(message["suspended"])
        self.running.disable(message["disabled"])

    def _describe(self, message: Message, descriptors: list[int]) -> None:
        """What the block says of itself now, for a support report."""
        if self.describer is not None:
            self.child.tell("described", fpga=self.describer.whole(), asked=True)

    def _writer(self, message: Message, descriptors: list[int]) -> None:
        self.events.to(socket.socket(fileno=descriptors[0]))

    def _reload(self, message: Message, descriptors: list[int]) -> None:
        """Compile beside the packets; one that comes meanwhile is next, the newest of them."""
        if self.compiling is not None:
            if self.next_reload is not None:
                self.child.tell("reloaded", ok=False, order=self.next_reload["order"],
                                why="another reload came after it")  # fmt: skip
            self.next_reload = message
            return
        rules, self.order = message["rules"], message["order"]
        try:
            settings = Settings.load(sets=message["settings"])
        except NsdataError as error:
            self.child.tell("reloaded", ok=False, why=str(error), order=self.order)
            return

        self.compiling = Compiling(rules, settings, self.loaded, message["limit_ns"])

    def _exchange(self, now: int) -> None:
        """The rules that were compiled take over, if they were."""
        if self.compiling is None or not self.compiling.over(now):
            return
        ended, self.compiling = self.compiling, None
        result = ended.result
        if isinstance(result, LoadedRules):
            self._take_over(result, ended.settings)
        else:
            self.child.tell("reloaded", ok=False, why=str(result), order=self.order)
        if self.next_reload is not None:
            message, self.next_reload = self.next_reload, None
            self._reload(message, [])

    def _take_over(self, loaded: LoadedRules, settings: Settings) -> None:
        self.settings = settings
        self.running.tell(self.child)
        self.pipeline.swap_rules(loaded.base, loaded.fragments, loaded.sids)
        if self.offload is not None:
            self.pipeline.load_offload(loaded, self.offload.image_for(loaded, self.settings))
        self.loaded = loaded
        self.running = RunningRules(self.pipeline.engine, loaded.sids)
        self.reloads += 1
        self.child.tell("reloaded", ok=True, rules=loaded.numbers, order=self.order,
                        refused=len(loaded.ruleset.refused))  # fmt: skip

    # --- frames -----------------------------------------------------------------------------

    def _batch(self, ring: Ring) -> bool:
        """Judge the oldest slot, if there is one."""
        slot = ring.take()
        if slot is None:
            return False
        data, offset, caplen, wirelen, ts_ns, linktype, verdicts = slot
        verdicts[:] = self.pipeline.feed(Batch(data, offset, caplen, wirelen, ts_ns, linktype))
        _, _, packets, nbytes = self.counts
        self.counts = self.pipeline.engine.counts()
        ring.hand_back(_gone(self.counts[2], packets), _gone(self.counts[3], nbytes))
        self.batches += 1
        self.events.add(self.pipeline.eve.take())
        return True

    def _block(self, now: int) -> None:
        """The block's sign of life; what it reports goes to the supervisor, and it is brought
        back when it can be."""
        block = self.offload
        if block is None:
            return
        due = now >= self.block_ns
        if block.active and due:
            self.block_ns = now + BEAT_NS
            self.pipeline.idle()
        was = self.block_failed
        if not block.active and not self.block_failed:
            self.block_failed = self.child.tell("fpga", software=block.software, fpga=block.last)
            self.block_ns = now + RECOVER_NS
        elif not block.active and not block.software and due:
            self.block_ns = now + RECOVER_NS
            self.pipeline.switch(State.NORMAL, self.pipeline.last_ns)
        if block.active and self.block_failed:
            self.block_failed = not self.child.tell("fpga over")
        if self.describer is not None and was is not self.block_failed:
            self.describer.anew()
        if self.describer is not None and (told := self.describer.step(now)) is not None:
            self.child.tell("described", fpga=told, asked=False)

    def _report(self, now: int) -> None:
        """What rules dropped, for the evidence of a fallback; what they cost."""
        if now < self.report_ns:
            return
        # several times in a window of the protections, which compare what rules cost in it
        self.report_ns = now + min(REPORT_NS, self.settings.protection.window // 4)
        self.running.tell(self.child)
        drops = dict(self.pipeline.drops_by_rule())
        if drops != self.reported:
            most = sorted(drops.items(), key=lambda item: -item[1])[:RULES_TOLD]
            if self.child.tell("drops", by_rule={str(sid): n for sid, n in most}):
                self.reported = drops

    def _publish(self, now: int, worked: bool = False) -> None:
        """The counters; not after every batch, which would cost more than the batch is worth."""
        if worked and now < self.publish_ns:
            return
        self.publish_ns = now + PUBLISH_NS
        self.words[:] = (
            self.batches, self.counts[0], self.events.sent, self.events.lost, self.reloads,
            self.loaded.numbers, *self.pipeline.engine.protection_counts(),
        )  # fmt: skip
        self.child.page.publish(self.words)

    def loop(self) -> None:
        """Until it is told to stop or the supervisor is gone; what is in the ring is judged."""
        while True:
            self.child.listen()
            worked = self.ring is not None and self._batch(self.ring)
            now = time.monotonic_ns()
            self._exchange(now)
            self.events.push()
            self._report(now)
            self._block(now)
            self._publish(now, worked)
            if not worked:
                if self.child.stopping or self.child.orphan:
                    break
                self.child.pause(IDLE_NS if self.ring is not None else BEAT_NS)
        self.pipeline.finish()
        if self.offload is not None:
            self.offload.close()
        self.events.add(self.pipeline.eve.take())
        limit = time.monotonic_ns() + 500_000_000
        while self.events.waiting and self.events.end is not None and time.monotonic_ns() < limit:
            self.events.push()
            time.sleep(0.001)
        self._publish(time.monotonic_ns())
        self.child.tell("stopped", events_lost=self.events.lost + len(self.events.waiting))


def _sum(one: list[int], other: list[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


def _gone(now: list[int], then: list[int]) -> list[int]:
    return [a - b for a, b in zip(now, then, strict=True)]


def run(child: Child, plan: dict[str, Any]) -> None:
    """Be a worker."""
    beating = threading.Event()

    def beat() -> None:  # while rules are compiled the first time there is no loop
        while not beating.wait(BEAT_NS / 1e9):
            child.page.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        process = WorkerProcess(child, plan)
    finally:
        beating.set()
        thread.join()
    gc.freeze()  # rules are not garbage: no collection looks at them again
    refused = [str(error) for error in process.loaded.ruleset.refused[:20]]
    child.tell("ready", rules=process.loaded.numbers, refused=refused,
               refused_number=len(process.loaded.ruleset.refused))  # fmt: skip
    if child.stopping:
        raise EngineError("told to stop before it was ready")
    process.loop()
