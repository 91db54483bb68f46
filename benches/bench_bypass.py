"""Fallback: a whole replay in which every packet from the first is permitted unseen."""

import runs
from corpus import Corpus

from nsdata import Switch
from nsdata.fallback.reasons import State

FALLBACK = Switch(State.FALLBACK, at_frame=1)


def test_fallback_replay(measure, corpus: Corpus, loaded) -> None:
    measure("bypass: whole replay in fallback",
            lambda: runs.whole_replay(corpus, loaded, switches=[FALLBACK]), corpus.packets,
            rounds=9)  # fmt: skip


def test_fallback_engine(measure, corpus: Corpus, batches, no_rules, fresh) -> None:
    """The engine alone, in fallback."""

    def setup() -> tuple[object]:
        (machine,) = fresh(no_rules)()
        machine.set_fallback(True)
        return (machine,)

    measure("bypass: engine in fallback", lambda machine: runs.engine(batches, machine),
            corpus.frames, setup=setup, rounds=9)  # fmt: skip
