"""Inspection: the engine over a capture in memory, with all rules, with few and with none.

The difference between the rows is what detection costs; no reader, no output.
"""

import corpus as corpora
import pytest
import runs

CASES = {"no rules": None, "demo rules": corpora.DEMO_RULES, "all rules": "corpus"}


@pytest.mark.parametrize("which", CASES)
def test_detect(measure, corpus, settings, loaded, batches, fresh, which: str) -> None:
    rules = CASES[which]
    image = loaded if rules == "corpus" else corpora.compiled(rules, settings)
    name = f"detect: {which} ({len(image.ruleset.rules):,})"
    measure(name, lambda machine: runs.engine(batches, machine), corpus.frames,
            setup=fresh(image, checksums=False))  # fmt: skip


def test_detect_inline(measure, corpus, loaded, batches, fresh) -> None:
    """As an IPS: drops take effect."""
    measure("detect: all rules, inline", lambda machine: runs.engine(batches, machine),
            corpus.frames, setup=fresh(loaded, checksums=False, inline=True))  # fmt: skip
