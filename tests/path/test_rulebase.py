"""rulebase: images that load, and those that do not."""

import dataclasses
import gc
import itertools
from typing import Any

import numpy as np
import pytest
import traffic
from engines import Run

from nsdata.path.engine import Engine
from nsdata.path.rulebase import RuleBase, check_pcre, dtypes
from nsdata.rules.compile import Image
from nsdata.rules.ruleset import load_text

TEXT = """
    alert udp any any -> any 53 (content:"abc"; pcre:"/x+/"; flowbits:set,a; sid:1; gid:7; rev:3;)
    drop tcp 10.0.0.0/8 any -> [fd00::/8,10.1.0.0/16] 80: (content:"def"; nocase; sid:2;)
    alert ip any any -> any any (threshold:type limit,track by_src,count 1,seconds 9; sid:3;)
    alert pkthdr any any -> any any (decode-event:ipv4.trunc_pkt; sid:4;)
"""


def image(text: str = TEXT) -> Image:
    ruleset = load_text(text)
    assert not ruleset.refused
    return ruleset.compile()


def test_an_image_loads_and_says_what_it_takes() -> None:
    built = image()
    base = RuleBase(built)
    assert base.n_rules == 4 and base.n_flowbits == 1
    memory = base.memory()
    assert memory["arrays"] > 65536 and memory["hyperscan"] > 0
    # one source rule per row, in evaluation order: drop before alert
    assert built.rules["sid"].tolist()[0] == 2 and set(built.rules["number"]) == {0, 1, 2, 3}
    assert built.rules[built.rules["sid"] == 1]["gid"] == 7


def test_every_image_has_a_generation_of_its_own() -> None:
    built = image()
    assert RuleBase(built).generation < RuleBase(built).generation


def test_no_rules_are_an_image_too() -> None:
    base = RuleBase(image("# nothing\n"))
    assert base.n_rules == 0 and base.memory()["hyperscan"] == 0
    assert Run("").feed([traffic.udp(b"x"), traffic.tcp(), b""]).finish().fired() == {}


def test_structs_and_dtypes_agree_in_size() -> None:
    kinds = dtypes()
    assert set(kinds) == {"rule", "op", "buffer", "threshold"}
    for kind in kinds.values():
        assert kind.fields is not None
        ends = [offset + field.itemsize for field, offset, *_ in kind.fields.values()]
        assert max(ends) <= kind.itemsize
        spans = sorted((offset, offset + field.itemsize) for field, offset, *_ in
                       kind.fields.values())  # fmt: skip
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pcres": [(b"(", "")]}, "at byte 1"),
        ({"pcres": [(b"a", "Q")]}, "unknown PCRE flag 'Q'"),
        ({"v4_starts": np.array([5], np.uint32)}, "lowest address"),
        ({"v4_starts": np.zeros(0, np.uint32)}, "lowest address"),
        ({"v6_starts": np.ones((1, 16), np.uint8)}, "lowest address"),
    ],
)
def test_images_that_cannot_be(changes: dict[str, Any], said: str) -> None:
    broken = dataclasses.replace(image(), **changes)
    with pytest.raises(ValueError, match=said):
        RuleBase(broken)


@pytest.mark.parametrize("pattern", [b"(", b"[", b"a{2,1}", b"(?<n>a)(?<n>b)", b"\\"])
def test_expressions_that_do_not_compile_say_where(pattern: bytes) -> None:
    with pytest.raises(ValueError, match=r"\(at byte \d+ of the expression\)"):
        check_pcre(pattern)


def test_expressions_that_do() -> None:
    for flags in ("", "i", "s", "m", "x", "A", "E", "G", "ismxAEG"):
        check_pcre(b"a.*b", flags)


def test_the_image_outlives_what_it_was_made_of() -> None:
    built = image('alert udp any any -> any any (content:"abc"; pcre:"/abc$/"; sid:1;)')
    base = RuleBase(built)
    del built
    gc.collect()
    junk = [np.full(10000, 0xAB, np.uint8) for _ in range(50)]
    engine = Engine(base, 1)
    del base
    gc.collect()
    run = Run('alert udp any any -> any any (content:"abc"; sid:1;)', engine=engine)
    assert run.feed([traffic.udp(b"xabc"), traffic.udp(b"abcx")]).alerts() == [(1, 1)]
    assert len(junk) == 50


def test_three_thousand_rules_of_one_pattern() -> None:
    rules = "\n".join(
        f'alert udp any any -> any any (content:"hello"; content:"w{n}."; sid:{n};)'
        for n in range(1, 3001)
    )
    run = Run(rules).feed([traffic.udp(b"hello w7."), traffic.udp(b"hello w2999. w12.")])
    assert set(run.alerts()) == {(1, 7), (2, 12), (2, 2999)}


def test_more_matches_than_are_kept_are_counted() -> None:
    rules = "\n".join(
        f'alert udp any any -> any any (content:"hello"; sid:{n};)' for n in range(1, 1001)
    )
    run = Run(rules, ["packet-alert-max=20"]).feed([traffic.udp(b"hello")]).finish()
    stats = run.engine.stats()["detect"]
    assert len(run.alerts()) == 20
    assert stats["alerts"] + stats["alerts_discarded"] + stats["match_overflow"] == 1000
