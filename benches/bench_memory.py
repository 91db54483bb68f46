"""Peak memory of a replay played once and twenty times (tools/memory.py)."""

import sys

from corpus import ROOT, Corpus

sys.path.insert(0, str(ROOT / "tools"))
import memory


def test_memory_does_not_grow(benchmark, figures, corpus: Corpus) -> None:
    benchmark.group = "memory"
    peaks = benchmark.pedantic(lambda: memory.measure(corpus.capture, corpus.rules), rounds=1)
    for peak in peaks:
        benchmark.extra_info[peak.name] = {"rss_kib": peak.rss, "anonymous_kib": peak.anonymous}
    figures.notes += ["peak memory, EVE to a file:", *(f"  {line}" for line in memory.lines(peaks))]
