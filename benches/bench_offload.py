"""The FPGA block's golden model and its table compiler; what the prefilter flags in vain; what
the block's verdicts spare the engine, given for free and with the model working them out.

Patterns are those of tools/prefilter_check.py (its head says which and why those); without the
shared ones, the fast patterns of the demo rules. Shares of frames are in the notes at the end.
"""

from __future__ import annotations

import sys

import corpus as corpora
import numpy as np
import pytest
import runs

from nsdata import Settings
from nsdata.capture import Batch
from nsdata.config.offload import OffloadSettings
from nsdata.offload.image import PrefilterImage, compile_image
from nsdata.offload.model import Model
from nsdata.offload.patterns import Wanted, from_list, from_rules
from nsdata.offload.session import ModelOffload, Session, image_for
from nsdata.path.engine import Engine

sys.path.insert(0, str(corpora.ROOT / "tools"))
import prefilter_check as check

# patterns, buckets_log2, words
SIZES = [(400, 10, 1), (10_000, 12, 2)]


def wanted(count: int) -> tuple[list[check.Literal], Wanted]:
    """`count` real patterns, or those of the demo."""
    if (corpora.SHARED / "bench" / "fast-patterns.txt").is_file():
        patterns = check.real_patterns(count, corpora.SHARED)
    else:
        rules = corpora.compiled(corpora.DEMO_RULES, Settings()).ruleset.rules
        patterns = [(one.data, one.nocase) for one in from_rules(rules).patterns]
    return patterns, from_list(patterns)


def frames_of(batches: list[Batch]) -> list[check.Frames]:
    return [(one.data, one.offset, one.caplen) for one in batches]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size[0]))
def test_compile(measure, size: tuple[int, int, int]) -> None:
    """Patterns → image; a row's packets are patterns."""
    count, buckets_log2, words = size
    patterns, what = wanted(count)
    measure(
        f"offload: compile {len(patterns):,} patterns",
        lambda: compile_image(what, buckets_log2=buckets_log2, words=words),
        len(patterns), rounds=3,
    )  # fmt: skip


@pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size[0]))
def test_prefilter(measure, figures, corpus, batches, size: tuple[int, int, int]) -> None:
    """The model's prefilter alone, and its shares judged by Hyperscan."""
    count, buckets_log2, words = size
    patterns, what = wanted(count)
    image = compile_image(what, buckets_log2=buckets_log2, words=words)
    frames, search = frames_of(batches), image.prefilter().hits
    name = f"offload: prefilter, {len(patterns):,} patterns"
    measure(name, lambda: [search(*one) for one in frames], corpus.frames)
    share = check.shares(image, patterns, frames)
    assert share["missed"] == 0
    figures.notes.append(
        f"{name} ({100 * image.report['load']:.0f} % of the slots): {100 * share['true']:.2f} % of "
        f"frames hold one, {100 * share['false']:.3f} % flagged in vain "
        f"({100 * share['folding']:.3f} % by case alone); "
        f"{100 * share['of_clean']:.3f} % of those that hold none"
    )


@pytest.mark.parametrize("common", [1.0, 0.01], ids=["all", "leave-common"])
def test_block(measure, figures, corpus, batches, loaded, common: float) -> None:
    """Every stage of the model, with the rules of the corpus and their ports."""
    rules = from_rules(loaded.ruleset.rules)
    image: PrefilterImage = compile_image(rules, most_common=common)
    block = Model(9, image.prefilter(), image.ranges)
    frames = frames_of(batches)
    left = image.report["always_software"]
    name = f"offload: the whole model, {image.report['rules'] - left:,} rules"
    measure(name, lambda: [block.inspect(*one) for one in frames], corpus.frames)
    result = np.concatenate([block.inspect(*one) for one in frames])
    parts = {
        "not parsed or truncated": (result["parse"] != 0) | (result["len_short"] != 0),
        "ports": result["ports_hit"] != 0,
        "prefilter": result["pf_hit"] != 0,
        "CLEAR": result["verdict"] == 1,
    }
    shown = ", ".join(f"{part} {100 * share.mean():.1f} %" for part, share in parts.items())
    figures.notes.append(f"{name} ({left} left to the software): {shown}")


@pytest.mark.parametrize("percent", [None, 100, 1, 0.1], ids=lambda percent: f"leave {percent}")
def test_engine(measure, figures, corpus, batches, loaded, fresh, percent: float | None) -> None:
    """The engine with verdicts given for free."""
    name = "offload: engine, no verdicts"
    if percent is None:
        measure(name, lambda machine: runs.engine(batches, machine), corpus.frames,
                setup=fresh(loaded, checksums=False))  # fmt: skip
        return
    name = f"offload: engine, verdicts for free, leave-common {percent}"
    image, block = image_for(loaded, (), percent), ModelOffload()
    block.load(image)
    judged = [block.inspect(batch) for batch in batches]
    make = fresh(loaded, checksums=False)

    def setup() -> tuple[Engine]:
        (machine,) = make()
        Session(ModelOffload(), OffloadSettings()).attach(machine, loaded, image)
        return (machine,)

    measure(name, lambda machine: runs.engine(batches, machine, judged), corpus.frames,
            setup=setup)  # fmt: skip
    said = np.concatenate(judged)
    figures.notes.append(f"{name}: {100 * (said == 1).mean():.1f} % of the frames are CLEAR")


def test_replay(measure, corpus, loaded) -> None:
    """A whole replay with the golden model in front, in chunks of 64 frames."""
    measure("offload: replay, model, no EVE, wall",
            lambda: runs.whole_replay(corpus, loaded, eve_types=[], offload="model"),
            corpus.packets, rounds=3)  # fmt: skip
