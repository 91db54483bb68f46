"""The engine over buffers: frames in, verdicts out, events as dicts. For programs and tests."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from nsdata.assembly import LoadedRules, build_engine
from nsdata.capture import Batch
from nsdata.config.settings import Settings
from nsdata.errors import EngineError, SettingError
from nsdata.fallback.controller import Transition
from nsdata.fallback.guard import Guard
from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.fallback.reasons import State
from nsdata.offload.session import Offload, open_session
from nsdata.output.events import EveWriter
from nsdata.pipeline import Pipeline
from nsdata.rules.ruleset import RuleSet, load_rules, load_text

ETHERNET = 1


class Engine:
    """An engine for frames that lie in memory.

        engine = nsdata.Engine("alert udp any any -> any 53 (content:\\"evil\\"; sid:1;)")
        verdicts = engine.inspect(frames)        # numpy array of nsdata.Verdict
        alerts = engine.events()                 # EVE events so far, as dicts

    rules: rule text, a path, or several paths (a text with a blank in it that names no file
    and does not end in `.rules` is rule text). inline: drops take effect. The other
    arguments are those of nsdata.replay. Refused rules are in `refused`.

    With `offload` (`model`, `rtl`, …) call `idle` while no frames come, more often than
    `offload.heartbeat`, and `close` in the end, or use it in a `with`.
    """

    def __init__(
        self,
        rules: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = "",
        *,
        inline: bool = False,
        checksum_validation: bool = True,
        settings: Settings | None = None,
        bypass: npt.NDArray[np.void] | None = None,
        capacity_pps: float = 0,
        queue: int = 4096,
        restore_after_ns: int | None = None,
        seed: int = 0,
        offload: str | Offload | None = None,
        offload_image: str | os.PathLike[str] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self._loaded = LoadedRules.build(self._ruleset(rules), self.settings)
        engine = build_engine(
            self._loaded, self.settings, inline=inline, checksums=checksum_validation,
            capacity_pps=capacity_pps, queue=queue, bypass=bypass, seed=seed,
        )  # fmt: skip
        guard = Guard.build(
            self.settings.drop_meter.build(),
            restore_after_ns=restore_after_ns,
            capacity_pps=capacity_pps or None,
        )
        eve = self.settings.outputs.eve
        writer = EveWriter(
            None,
            [str(t) for t in eve.types],
            payload=eve.payload,
            packet=eve.packet,
        )
        session = None
        if offload is not None:
            session = open_session(offload, engine, self._loaded, self.settings, offload_image)
        elif offload_image is not None:
            raise SettingError("an offload image without offload; give offload as well")
        self.pipeline = Pipeline(engine, guard, writer, offload=session)
        self.pipeline.set_rules(self._loaded.fragments, self._loaded.sids)

    def _ruleset(self, rules: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> RuleSet:
        if isinstance(rules, str) and _is_text(rules):
            return load_text(rules, settings=self.settings)
        if isinstance(rules, (str, os.PathLike)):
            rules = [rules]
        return load_rules([Path(path) for path in rules], self.settings)

    @property
    def refused(self) -> list[str]:
        """Rules that were refused: place and reason of each."""
        return [str(error) for error in self._loaded.ruleset.refused]

    def inspect(
        self,
        frames: Sequence[bytes],
        ts_ns: int | Sequence[int] | npt.NDArray[np.uint64] = 0,
        linktype: int = ETHERNET,
    ) -> npt.NDArray[np.uint8]:
        """Run frames; the verdict (nsdata.Verdict) of each.

        ts_ns: time of each frame in ns, or of the first (the rest follow 1 µs apart).
        """
        n = len(frames)
        lengths = np.fromiter((len(f) for f in frames), np.uint32, n)
        offset = np.zeros(n, np.uint64)
        if n:
            offset[1:] = np.cumsum(lengths[:-1], dtype=np.uint64)
        if isinstance(ts_ns, (int, np.integer)):
            times = np.uint64(ts_ns) + np.arange(n, dtype=np.uint64) * np.uint64(1000)
        else:
            times = np.asarray(ts_ns, np.uint64)
        data = np.frombuffer(b"".join(frames) or b"\0", np.uint8)
        return self.inspect_batch(
            Batch(data, offset, lengths, lengths, times, np.full(n, linktype, np.uint16))
        )

    def inspect_batch(self, batch: Batch) -> npt.NDArray[np.uint8]:
        """Run a batch (nsdata.capture.Batch: arrays over one buffer); a copy of the verdicts."""
        if len(batch.ts_ns) != len(batch):
            raise EngineError(f"{len(batch)} frames but {len(batch.ts_ns)} times")
        return self.pipeline.feed(batch).copy()

    def events(self) -> list[dict[str, Any]]:
        """EVE events since the last call, in order."""
        return [json.loads(line) for line in self.pipeline.eve.take().splitlines()]

    @property
    def ledger(self) -> LedgerSnapshot:
        """received = inspected + bypassed + blocked + lost, as it stands."""
        return self.pipeline.ledger()

    @property
    def state(self) -> State:
        """normal or fallback."""
        return self.pipeline.guard.state

    def fallback(self) -> list[Transition]:
        """Into fallback by hand, from the next frame on."""
        return self.pipeline.switch(State.FALLBACK, self.pipeline.last_ns)

    def restore(self, *, force: bool = False) -> list[Transition]:
        """Back to normal by hand; refused (see the transition) while the cause holds."""
        return self.pipeline.switch(State.NORMAL, self.pipeline.last_ns, force=force)

    def reload(self, rules: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> None:
        """Other rules from the next frame on; flows, streams and flowbits live on.

        A block is loaded with tables made of them. Raises OffloadError when they do not fit it;
        then, as with every other error of the rules, the old ones stay.
        """
        loaded = LoadedRules.build(self._ruleset(rules), self.settings, self._loaded)
        session = self.pipeline.offload
        image = session.image_for(loaded, self.settings) if session is not None else None
        self.pipeline.swap_rules(loaded.base, loaded.fragments, loaded.sids)
        self._loaded = loaded
        if image is not None:
            self.pipeline.load_offload(loaded, image)

    def idle(self) -> None:
        """While no frames come: the sign of life for a block, and a look for its errors."""
        self.pipeline.idle()

    def finish(self) -> None:
        """End every flow: what streams still hold is inspected, flow events are written."""
        self.pipeline.finish()

    def close(self) -> None:
        """Let go of the block, if there is one. The engine is not to be used any more."""
        if self.pipeline.offload is not None:
            self.pipeline.offload.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _is_text(rules: str) -> bool:
    """Whether this is rule text rather than the name of a file."""
    if "\n" in rules or "(" in rules or not rules.strip():
        return True
    return " " in rules.strip() and not rules.endswith(".rules") and not os.path.exists(rules)
