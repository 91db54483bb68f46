"""A capture through the engine: the replay host.

`replay` is what the command line calls and what a program may call. It owns the world a
replay touches: files, the wall clock, the terminal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nsdata.assembly import LoadedRules, build_engine
from nsdata.capture import Batch, CaptureReader, CaptureWriter, open_capture
from nsdata.config.settings import Settings, load_bypass_rules, settings_rows
from nsdata.errors import CaptureError, Interrupted, NsdataError, OutputError, SettingError
from nsdata.fallback.controller import Transition
from nsdata.fallback.guard import Guard
from nsdata.fallback.ledger import Why
from nsdata.offload.session import Offload, open_session
from nsdata.output.console import DropPoint
from nsdata.output.eve_file import write_whole
from nsdata.output.events import EveWriter, pcap_tail
from nsdata.output.report_page import report_page
from nsdata.output.summary import Summary
from nsdata.output.timeline import Timeline
from nsdata.pipeline import EveryVerdict, Pipeline, Switch
from nsdata.replay.clock import RealClock, clock_for
from nsdata.replay.files import Named, check_files, check_forwarded
from nsdata.replay.report import eve_stats, summarise
from nsdata.rules.ruleset import load_rules
from nsdata.verdict import FORWARDED

PathLike = str | os.PathLike[str]
PACED_FRAMES = 64  # frames per batch when paced by the clock
PAUSE_NS = 100_000_000  # longest sleep before `stop` is asked again
LOOP_GAP_NS = 1_000_000  # between the last frame of a loop and the first of the next


@dataclass(slots=True)
class ReplayResult:
    """What a replay came to. `ok` is False when a capture failed or the run was stopped:
    `summary.errors` says how."""

    summary: Summary
    points: list[DropPoint] = field(default_factory=list)  # drop ratio over time
    eve: bytes = b""  # the EVE lines (JSON, one a line) when no file was given
    not_reached: list[Switch] = field(default_factory=list)  # switches beyond the end

    @property
    def ok(self) -> bool:
        return not self.summary.errors


@dataclass(slots=True)
class Progress:
    """How far a replay is, given to the `progress` callback after each batch."""

    done_bytes: int
    total_bytes: int
    packets: int
    seconds: float
    drop_ratio: float
    state: str
    notes: list[str]


def replay(
    captures: PathLike | Sequence[PathLike],
    rules: PathLike | Sequence[PathLike] = (),
    *,
    eve: PathLike | None = None,
    summary: PathLike | None = None,
    report: PathLike | None = None,
    inline: bool = False,
    checksum_validation: bool = True,
    settings: Settings | None = None,
    write_forwarded: PathLike | None = None,
    bypass_rules: PathLike | None = None,
    speed: str = "max",
    capacity_pps: float = 0,
    queue: int = 4096,
    switches: Sequence[Switch] = (),
    restore_after_ns: int | None = None,
    loaded: LoadedRules | None = None,
    loops: int = 1,
    offload: str | Offload | None = None,
    offload_image: PathLike | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> ReplayResult:
    """Replay captures, one after the other, through one engine.

    captures, rules: a file or several. eve, summary, report, write_forwarded: files to write
    ("-" is standard output for the first three; without `eve` the lines are in the result);
    `report` is a page of HTML for a person. inline: drops take effect. capacity_pps, queue: model
    an engine of that capacity (packets/s) and queue (packets) in virtual time. switches: fallback
    and restore by hand. restore_after_ns: automatic restore. speed: "max", or a factor such as
    "1x" to pace by the clock. loaded: rules compiled before (LoadedRules.build), instead of
    `rules`. loops: play the captures so often, times following on. bypass_rules: a TOML file.

    offload: the FPGA block that judges the frames first: `model`, another name that
    `--offload` knows, or an Offload (nsdata.offload.session). offload_image: its tables, a file
    of `nsdata offload compile`; else they are made of the rules. Alerts are the same without.

    stop: asked before every batch; once true nothing more is read, and the run ends as if
    the captures did, with an Interrupted in `summary.errors`.

    A capture that cannot be read to its end is reported in `summary.errors` after all whole
    packets before the fault were processed. Raises SettingError for options that make no
    sense (such as an output that is also an input; nothing is touched then), RuleError and
    OutputError for files that cannot be used.
    """
    settings = settings or Settings()
    paths = _listed(captures)
    rule_files = loaded.ruleset.paths if loaded is not None else _listed(rules)
    check_files(
        read_by(paths, rule_files, bypass_rules, offload_image),
        written_by(eve, summary, write_forwarded, report),
    )
    if write_forwarded is not None:
        check_forwarded("--write-forwarded", write_forwarded)
    if not paths:
        raise SettingError("no capture to replay; name at least one pcap or pcapng file")
    if loops < 1:
        raise SettingError(f"loops must be 1 or more, not {loops}")
    clock = clock_for(speed)
    if loaded is None:
        ruleset = load_rules([Path(r) for r in _listed(rules)], settings)
        loaded = LoadedRules.build(ruleset, settings)
    bypass = load_bypass_rules(bypass_rules) if bypass_rules is not None else None
    engine = build_engine(
        loaded, settings, inline=inline, checksums=checksum_validation,
        capacity_pps=capacity_pps, queue=queue, bypass=bypass.to_array() if bypass else None,
    )  # fmt: skip
    session = None
    if offload is not None:
        session = open_session(offload, engine, loaded, settings, offload_image)
    elif offload_image is not None:
        raise SettingError("an offload image without offload; give --offload as well")
    guard = Guard.build(
        settings.drop_meter.build(),
        restore_after_ns=restore_after_ns,
        capacity_pps=capacity_pps or None,
    )
    options = settings.outputs.eve
    writer = EveWriter(
        eve,
        [str(t) for t in options.types],
        payload=options.payload,
        packet=options.packet,
    )
    timeline = Timeline() if report is not None else None
    pipeline = Pipeline(engine, guard, writer, list(switches), offload=session, timeline=timeline)
    pipeline.set_rules(loaded.fragments, loaded.sids)
    run = _Run(pipeline, clock, progress, sum(_size(p) for p in paths) * loops, stop)
    forward = CaptureWriter(write_forwarded, inputs=paths) if write_forwarded is not None else None
    try:
        run.captures(paths, loops, forward)
        run.close_forwarded(forward)
        run.finish(settings, loaded)
    finally:
        if forward is not None:
            with suppress(OutputError):  # closed above, unless the run itself failed
                forward.close()
        if session is not None:
            session.close()
        writer.close()
    modelled = run.modelled_seconds(capacity_pps)
    result = summarise(
        pipeline, loaded, settings, paths, run.errors,
        run.seconds if modelled is None else modelled, modelled is not None, bypass,
    )  # fmt: skip
    if summary is not None:
        result.write(summary)
    if report is not None and timeline is not None:
        page = report_page(result, timeline, pipeline.ledger(), settings_rows(settings))
        write_whole(report, page)
    first = pipeline.first_ns or 0
    points = [
        DropPoint((at - first) / 1e9, ratio, state, judged)
        for at, ratio, state, judged in pipeline.points
    ]
    lines = writer.take() if eve is None else b""
    return ReplayResult(result, points, lines, list(pipeline.switches))


def read_by(
    captures: Sequence[PathLike],
    rules: Sequence[PathLike],
    bypass_rules: PathLike | None = None,
    offload_image: PathLike | None = None,
) -> list[Named]:
    """The files a replay reads, by option."""
    named = [("the capture", path) for path in captures] + [("--rules", path) for path in rules]
    others = (("--bypass-rules", bypass_rules), ("--offload-image", offload_image))
    return named + [(option, path) for option, path in others if path is not None]


def written_by(
    eve: PathLike | None,
    summary: PathLike | None,
    write_forwarded: PathLike | None,
    report: PathLike | None = None,
) -> list[Named]:
    """The files a replay writes, by option."""
    outputs = (
        ("--eve", eve), ("--summary", summary), ("--write-forwarded", write_forwarded),
        ("--report", report),
    )  # fmt: skip
    return [(option, path) for option, path in outputs if path is not None]


def _listed(given: PathLike | Sequence[PathLike]) -> list[str]:
    if isinstance(given, (str, os.PathLike)):
        return [os.fspath(given)]
    return [os.fspath(item) for item in given]


def _note(transition: Transition) -> str:
    """A transition in a line, for the progress display."""
    states = f"{transition.from_state.value} → {transition.to_state.value}"
    if transition.refused:
        return f"restore refused: {transition.reason.value} still holds"
    return f"{states}: {transition.reason.value} (packet {transition.at_packet:,})"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


class _Run:
    """The loop over captures and batches, and the time it takes."""

    def __init__(
        self,
        pipeline: Pipeline,
        clock: object,
        progress: Callable[[Progress], None] | None,
        total_bytes: int,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self._stop = stop
        self.clock = clock if isinstance(clock, RealClock) else None
        self.progress = progress
        self.total_bytes = total_bytes
        self.done_bytes = 0
        self.seconds = 0.0
        self.errors: list[NsdataError] = []
        self._notes = 0
        self._forward_failed = False

    def captures(self, paths: list[str], loops: int, forward: CaptureWriter | None) -> None:
        shift = 0
        for _ in range(loops):
            for path in paths:
                if self.stopped():
                    break
                try:
                    with open_capture(path) as reader:
                        self.pipeline.eve.formatter.set_tail(pcap_tail(path))
                        self._capture(reader, forward, shift)
                except CaptureError as error:
                    self._keep(error)
                self.done_bytes += _size(path)
            first = self.pipeline.first_ns
            if first is not None:
                shift = self.pipeline.last_ns + LOOP_GAP_NS - first
        if self.stopped():
            packets = self.pipeline.engine.counts()[0]
            self.errors.append(
                Interrupted(
                    f"interrupted after {packets:,} packets; the record of these is complete"
                )
            )

    def _keep(self, error: NsdataError) -> None:
        if str(error) not in map(str, self.errors):
            self.errors.append(error)

    def _forward(self, forward: CaptureWriter, batch: Batch, verdicts: EveryVerdict) -> None:
        """Write what is forwarded, until the disk fails: inspection goes on without it."""
        if self._forward_failed:
            return
        try:
            forward.write(batch, np.isin(verdicts, FORWARDED))
        except OutputError as error:
            self._forward_failed = True
            self._keep(error)

    def close_forwarded(self, forward: CaptureWriter | None) -> None:
        """Write what is left of the forwarded capture; a full disk ends no run."""
        try:
            if forward is not None:
                forward.close()
        except OutputError as error:
            self._keep(error)

    def stopped(self) -> bool:
        return self._stop is not None and self._stop()

    def _capture(self, reader: CaptureReader, forward: CaptureWriter | None, shift: int) -> None:
        batches = reader.batches(PACED_FRAMES) if self.clock else reader.batches()
        while not self.stopped():
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            if shift:
                batch.ts_ns = batch.ts_ns + np.uint64(shift)
            if self.clock is not None and len(batch):
                self.seconds += time.perf_counter() - start
                self._sleep(self.clock.wait_ns(time.monotonic_ns(), int(batch.ts_ns[0])))
                if self.stopped():
                    return
                start = time.perf_counter()
            verdicts = self.pipeline.feed(batch)
            self.seconds += time.perf_counter() - start
            if forward is not None:
                self._forward(forward, batch, verdicts)
            if self.clock is not None:  # paced: who watches the file sees events as they come
                self.pipeline.eve.flush()
            self._report(reader)

    def _sleep(self, wait_ns: int) -> None:
        """Sleep so long, in short pieces: a signal that only sets a flag wakes nobody."""
        while wait_ns > 0 and not self.stopped():
            time.sleep(min(wait_ns, PAUSE_NS) / 1e9)
            wait_ns -= PAUSE_NS
            self.pipeline.idle()

    def _report(self, reader: CaptureReader) -> None:
        guard = self.pipeline.guard
        reading = guard.meter.last
        if self.progress is None:
            return
        fresh = self.pipeline.transitions[self._notes :]
        self._notes += len(fresh)
        self.progress(
            Progress(
                self.done_bytes + reader.position_bytes,
                self.total_bytes,
                self.pipeline.engine.counts()[0],
                self.seconds,
                reading.ratio if reading is not None else 0.0,
                guard.state.value,
                [_note(t) for t in fresh],
            )
        )

    def finish(self, settings: Settings, loaded: LoadedRules) -> None:
        start = time.perf_counter()
        self.pipeline.finish()
        self.seconds += time.perf_counter() - start
        now = self.pipeline.last_ns
        self.pipeline.eve.ledger(now, self.pipeline.ledger())
        self.pipeline.eve.stats(now, eve_stats(self.pipeline, loaded, settings))
        self.pipeline.eve.flush()

    def modelled_seconds(self, capacity_pps: float) -> float | None:
        """Engine time of a modelled run: packets served at the stated capacity."""
        if not capacity_pps:
            return None
        ledger = self.pipeline.ledger()
        unserved = (
            Why.FALLBACK, Why.BYPASS_RULE, Why.BYPASS_RULE_BLOCK, Why.OVERSUBSCRIBED,
            Why.OFFLOAD_FAULT, Why.OFFLOAD_BLOCK,
        )  # fmt: skip
        served = ledger.received.packets - sum(ledger.why(why).packets for why in unserved)
        return round(served / capacity_pps, 9)
