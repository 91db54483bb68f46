"""The whole replay: reader, engine with all rules, drop meter, ledger and output."""

import pytest
import runs
from corpus import Corpus

WAYS = {
    "no EVE": {"eve_types": []},
    "EVE alerts to a file": {"eve_types": ["alert"], "eve": "eve.json"},
    "all EVE to a file": {"eve": "eve.json"},
}


@pytest.mark.parametrize("way", WAYS)
def test_replay(benchmark, measure, figures, corpus: Corpus, loaded, tmp_path, way: str) -> None:
    options = dict(WAYS[way])
    if "eve" in options:
        options["eve"] = tmp_path / str(options["eve"])
    engine: list[float] = []

    def once() -> None:
        engine.append(runs.whole_replay(corpus, loaded, **options).engine)

    measure(f"replay: {way}, wall", once, corpus.packets, rounds=3)
    if benchmark.stats is not None:
        seconds = sorted(engine[1:])[len(engine[1:]) // 2]
        info = figures.rate(f"replay: {way}, summary.seconds", seconds, corpus.packets)
        benchmark.extra_info.update({f"engine_{name}": value for name, value in info.items()})


def test_replay_without_rules(measure, corpus: Corpus, no_rules) -> None:
    measure("replay: no rules, all EVE in memory",
            lambda: runs.whole_replay(corpus, no_rules), corpus.packets)  # fmt: skip
