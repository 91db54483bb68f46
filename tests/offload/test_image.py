"""The table compiler: nothing is missed, what does not fit is said, equal input, equal bytes."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from offload import reference

from nsdata.errors import EngineError, OutputError
from nsdata.offload import model
from nsdata.offload.entry import PortRange
from nsdata.offload.fit import FIRST_SEED, TRIES, choices, fit, next_seed
from nsdata.offload.image import PrefilterImage, compile_image
from nsdata.offload.patterns import (
    Wanted,
    from_list,
    from_rules,
    merge,
    ports_of,
    read_list,
    readable,
)
from nsdata.offload.rarity import Rarity, common_text, sample_frames, windows
from nsdata.rules.ruleset import load_text

# Few letters, so that patterns overlap, repeat and share their first bytes.
TEXTS = st.one_of(
    st.binary(min_size=4, max_size=24),
    st.text("aAbB/ ", min_size=4, max_size=24).map(str.encode),
    st.lists(st.sampled_from([b"GET ", b"HTTP", b"\0\0", b"\xffSMB", b"abcd"]), min_size=2,
             max_size=6).map(b"".join),
)  # fmt: skip
PATTERNS = st.lists(st.tuples(TEXTS, st.booleans()), min_size=1, max_size=25)


def of(*patterns: bytes, **sizes: Any) -> PrefilterImage:
    return compile_image(from_list([(one, False) for one in patterns]), **sizes)


@pytest.fixture(scope="session")
def hyperscan(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("hyperscan", root / "tools" / "hyperscan.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.library() is None:
        pytest.fail("libhs is missing. Try: make setup")
    return module


# --- nothing is missed ------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(PATTERNS, st.integers(4, 10), st.data())
def test_what_hyperscan_finds_is_hit(hyperscan: Any, patterns: Any, log2: int, data: Any) -> None:
    try:
        image = compile_image(from_list(patterns), buckets_log2=log2, words=2)
    except EngineError:
        assert log2 < 8
        return
    judge = hyperscan.Literals(patterns)
    frames = []
    for _ in range(8):
        text, nocase = data.draw(st.sampled_from(patterns))
        text = text.swapcase() if nocase and data.draw(st.booleans()) else text
        before, after = (data.draw(st.binary(max_size=70)) for _ in range(2))
        frame = before + text + after
        frames += [frame, frame[: len(before) + len(text)], frame[1:], frame[:-1]]
    for frame in frames:
        hit = reference.prefilter_hit(
            frame, image.table.reshape(-1), image.seed, image.buckets_log2, image.words
        )
        assert model.prefilter_hit(frame, image) == hit
        if judge.found(frame):
            assert hit
    judge.close()


@settings(max_examples=60, deadline=None)
@given(PATTERNS)
def test_every_pattern_at_every_alignment(patterns: Any) -> None:
    image = compile_image(from_list(patterns), buckets_log2=10, words=2)
    filter_ = image.prefilter()
    for text, nocase in patterns:
        for data in {text, text.upper(), text.lower()} if nocase else {text}:
            for before in range(16):
                assert filter_.hit(b"\xe7" * before + data)
                assert filter_.hit(b"\xe7" * before + data + b"\xe7" * 9)


@pytest.mark.parametrize("kind", ["real", "random", "planted"])
def test_real_patterns_are_not_missed(checker: Any, office: Path, kind: str, shared: Path) -> None:
    """A smaller share of what tools/prefilter_check.py does."""
    rng = random.Random(7)
    patterns = checker.real_patterns(400, shared)
    judged = checker.Misses(compile_image(from_list(patterns)), patterns)
    source: Iterator[Any] = {
        "real": lambda: checker.real_frames(office, 20_000, rng),
        "random": lambda: checker.random_frames(20_000, rng),
        "planted": lambda: checker.planted_frames(patterns, 20_000, rng),
    }[kind]()
    for frames in source:
        judged.take(frames)
    assert judged.frames >= 20_000
    assert judged.missed == 0, judged.examples
    if kind == "planted":
        assert judged.true == judged.frames


def test_a_lost_slot_is_noticed(checker: Any, shared: Path) -> None:
    """The check can fail: an image without one of its slots misses that pattern."""
    patterns = checker.real_patterns(50, shared)
    image = compile_image(from_list(patterns))
    table = image.table.copy()
    table[np.flatnonzero(table[:, 0])[0], 0] = 0
    judged = checker.Misses(dataclasses.replace(image, table=table), patterns)
    for frames in checker.planted_frames(patterns, 3200, random.Random(1)):
        judged.take(frames)
    assert judged.missed >= 64
    assert judged.examples


@pytest.fixture(scope="session")
def checker(root: Path, hyperscan: Any) -> Any:
    sys.modules.setdefault("hyperscan", hyperscan)
    path = root / "tools" / "prefilter_check.py"
    spec = importlib.util.spec_from_file_location("prefilter_check", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_flagged_in_vain(checker: Any, shared: Path, office: Path) -> None:
    """The aim: at most 1 % of frames, on the capture the windows were not chosen for."""
    patterns = checker.real_patterns(400, shared)
    capture = shared / "captures" / "mixed.pcap"
    first, second = checker.halves(capture)
    share = checker.shares(compile_image(from_list(patterns)), patterns, [*first, *second])
    assert share["missed"] == 0
    assert share["false"] <= 0.01
    assert share["folding"] <= share["false"] <= share["flagged"]
    assert share["flagged"] == pytest.approx(share["true"] + share["false"])


# --- windows ----------------------------------------------------------------------------


def test_windows_by_length() -> None:
    assert windows(b"abc") == []
    assert windows(b"ABCD") == [b"abcd"]
    assert windows(b"abcde") == [b"abcd", b"bcde"]
    assert windows(b"abcdef") == [b"abcdef", b"abcd", b"bcde", b"cdef"]
    assert {len(one) for one in windows(b"abcdefghijk")} == {4, 6, 8}
    assert {len(one) for one in windows(b"abcdefghijkl")} == {8}, "enough of the best kind"


def test_the_rarest_window_is_taken() -> None:
    share = Rarity().share
    text = b"\r\nContent-Type: text/html; zqxjkvwp"
    assert b"zqxjk" in choices(text, share)[0].window
    assert choices(b"\0\0\0\0\0\0\0\0\x9b\x83\xf1", share)[0].window.endswith(b"\x9b\x83\xf1")
    assert common_text().bits(b"\xffsmb") < common_text().bits(b"zqxj")


def test_a_sample_outweighs_the_text() -> None:
    rare, common = b"zqxjkvwp", b"http/1.1"
    rarity = Rarity()
    assert rarity.share(rare) < rarity.share(common)
    frames = [np.frombuffer(b"..ZQXJKVWP..ZQXJKVWP", np.uint8)] * 90
    frames += [np.frombuffer(b"zqxjkvw", np.uint8), np.frombuffer(b"p", np.uint8)] * 5
    rarity.learn(frames, [rare, common, b"abcd"])
    assert rarity.frames == 100
    assert rarity.share(rare) == pytest.approx(90 / 120, rel=0.01), "once a frame, never across two"
    assert rarity.share(common) < rarity.share(rare)


def test_sample_of_a_capture(office: Path) -> None:
    image = compile_image(
        from_list([(b"GET /index.html", False)]), sample=lambda: sample_frames(office)
    )
    assert image.report["sample_frames"] == 7687


def test_the_counts_of_a_sample_are_right(office: Path) -> None:
    frames = list(sample_frames(office))
    wanted = [b"http/1.1", b"office", b"user", b"\0\0\0\0"]
    rarity = Rarity()
    rarity.learn(iter(frames), wanted)
    for one in wanted:
        plain = sum(one in frame.tobytes().lower() for frame in frames)
        assert plain and rarity._counts[one] == plain


# --- the fit ----------------------------------------------------------------------------


def test_equal_input_equal_bytes() -> None:
    patterns = [(f"pattern number {i}".encode(), bool(i % 2)) for i in range(300)]
    one, other = (compile_image(from_list(patterns), buckets_log2=7) for _ in range(2))
    assert one.to_bytes() == other.to_bytes()
    assert compile_image(from_list(patterns), buckets_log2=7, seed=5).seed != one.seed


def test_duplicates_share_a_slot() -> None:
    texts = (b"Abcdefgh", False), (b"aBCDEFGH", True), (b"abcdefgh", True)
    image = compile_image(from_list(texts))
    assert (image.report["patterns"], image.report["slots"]) == (2, 1)


def test_another_seed_is_tried() -> None:
    rng = random.Random(3)
    image = of(*(rng.randbytes(4) for _ in range(28)), buckets_log2=4)
    assert image.report["load"] == pytest.approx(28 / 48, abs=1e-3)
    assert image.report["seeds_tried"] > 1
    seed = FIRST_SEED
    for _ in range(image.report["seeds_tried"] - 1):
        seed = next_seed(seed)
    assert image.seed == seed


def test_full_tables_fill_by_moving() -> None:
    """Patterns of several windows reach a load that single windows never would."""
    patterns = [(f"{i:03d}xyzw{i * 7 % 1000:03d}".encode(), False) for i in range(46)]
    image = compile_image(from_list(patterns), buckets_log2=4)
    assert image.report["slots"] == 46 and image.report["capacity"] == 48


@pytest.mark.parametrize(
    ("count", "words"),
    [(48, f"any of {TRIES} seeds"), (60, "60 patterns want a slot"), (10_000, "--buckets 4096")],
)
def test_too_many_patterns(count: int, words: str) -> None:
    """48 would fit if chance had it; what cannot is said without a search."""
    wanted = from_list([(b"%04d" % i, False) for i in range(count)], "line")
    with pytest.raises(EngineError) as error:
        compile_image(wanted, buckets_log2=4)
    assert '" of line ' in str(error.value)
    assert words in str(error.value)
    assert "--buckets 32" in str(error.value) or count > 96


def test_what_no_seed_can_part() -> None:
    """Windows with the same first four bytes share a bucket: more buckets do not help."""
    alike = [b"%b%c%c" % (b"aaaa", i, 65) for i in range(65, 70)]

    def share(window: bytes) -> float:
        return 0.1

    patterns = from_list([(one, False) for one in alike]).patterns
    assert fit(patterns, share, 10, 1), "shorter windows are the way out"
    image = of(*alike)
    assert {len(window) for window in (b"aaaa", b"aaaaxx")} & {4, 6} and image.report["slots"] <= 5


def test_advice_where_only_words_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nsdata.offload.rarity.FEW", 0)
    wanted = from_list([(b"same%02d" % i, False) for i in range(7)])
    with pytest.raises(EngineError, match=r'start with "same".*--words 3'):
        compile_image(wanted)


@pytest.mark.parametrize(("log2", "words"), [(3, 1), (21, 1), (10, 0), (10, 9)])
def test_sizes_no_block_has(log2: int, words: int) -> None:
    with pytest.raises(EngineError, match="legal are"):
        of(b"abcd", buckets_log2=log2, words=words)


def test_an_empty_image() -> None:
    image = compile_image(Wanted())
    assert not image.table.any()
    assert not image.prefilter().hit(bytes(range(256)))


# --- what is loaded ---------------------------------------------------------------------


@pytest.mark.parametrize("words", [1, 2])
def test_the_image_as_it_is_loaded(words: int) -> None:
    wanted = from_list([(b"needle in hay", False), (b"ab", False)])
    image = compile_image(wanted, buckets_log2=6, words=words)
    assert [len(image.entry(i)) for i in range(64)] == [words] * 64
    entries = [image.entry(i) for i in range(64)]
    assert all(word >> 63 == 0 for entry in entries for word in entry)
    rest = [0] * (words - 1)
    entries += [(image.seed, *rest)]
    entries += [(one.pack(), *rest) for one in image.ranges]
    assert image.signature == reference.signature(entries)
    assert len(image.ranges) == 16
    assert image.ranges[0] == PortRange(0, 65535, True, True, True)


def test_paths_are_text_or_path_like(tmp_path: Path) -> None:
    image = of(b"needle in hay", buckets_log2=5)
    for path in (tmp_path / "a.nsd", str(tmp_path / "b.nsd")):
        image.save(path)
        assert PrefilterImage.load(path).signature == image.signature
    with pytest.raises(EngineError, match="cannot be read"):
        PrefilterImage.load("nowhere.nsd")
    with pytest.raises(OutputError, match="cannot be written"):
        image.save(str(tmp_path))


def test_files() -> None:
    image = of(b"needle in hay", b"stack", buckets_log2=5, words=2)
    data = image.to_bytes()
    back = PrefilterImage.from_bytes(data)
    assert back.to_bytes() == data and back.signature == image.signature
    assert json.loads(json.dumps(back.report)) == image.report
    for at in range(0, len(data), 7):
        damaged = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
        with pytest.raises(EngineError, match=r"damaged|no image|version"):
            PrefilterImage.from_bytes(damaged)
    for cut in (0, 8, 30, len(data) - 1):
        with pytest.raises(EngineError, match=r"damaged|no image"):
            PrefilterImage.from_bytes(data[:cut])


# --- rules ------------------------------------------------------------------------------

RULES = """
alert tcp any any -> any 80 (msg:"long"; content:"needle in hay"; sid:1;)
alert tcp any any -> any 80 (msg:"any case"; content:"NEEDLE IN HAY"; nocase; sid:2;)
alert tcp any 21 -> any any (msg:"short"; content:"ab"; sid:3;)
alert udp any 1000:2000 -> any 53 (msg:"short"; content:"|00 01|"; sid:4;)
alert icmp any any -> any any (msg:"short"; content:"x"; sid:5;)
alert tcp any any -> any any (msg:"header"; flags:S; sid:6;)
alert tcp any any -> any any (msg:"negated"; content:!"abcd"; sid:7;)
alert tcp any any -> any any (msg:"pcre"; pcre:"/a.c/"; sid:8;)
alert tcp any any -> any any (msg:"header bytes"; tcp.hdr; content:"|02 04 05 b4|"; sid:9;)
alert tcp any any -> any any (msg:"chosen"; content:"a long content"; content:"xyz"; fast_pattern;
  sid:10;)
alert tcp any any -> any any (msg:"chopped"; content:"abcdefghijkl"; fast_pattern:2,6; sid:11;)
""".replace("\n  ", " ")


def test_what_rules_want() -> None:
    ruleset = load_text(RULES, "r")
    assert not ruleset.refused
    wanted = from_rules(ruleset.rules)
    assert wanted.rules == 11
    patterns = {one.data: one for one in wanted.patterns}
    assert [(one.data, one.nocase) for one in wanted.patterns] == [
        (b"needle in hay", False), (b"needle in hay", True), (b"cdefgh", False),
    ]  # fmt: skip
    (owner,) = patterns[b"cdefgh"].rules
    assert owner.name.startswith("sid 11 (r:")
    assert ruleset.rules[owner.number].sid == 11
    assert [one.data for one in wanted.short] == [b"x", b"xyz", b"ab", b"\0\1"]
    reasons = {owner.name.split(" (")[0]: why for owner, why in wanted.always}
    assert set(reasons) == {"sid 6", "sid 7", "sid 8", "sid 9"}
    assert "negated" in reasons["sid 7"] and "pcre" in reasons["sid 8"]
    assert "header bytes" in reasons["sid 9"] and "header fields" in reasons["sid 6"]


def test_common_patterns_are_left_to_the_software_on_request() -> None:
    text = RULES + 'alert tcp any any -> any any (content:"HTTP/1.1"; sid:12;)\n'
    text += 'alert tcp any any -> any 5:6 (content:"zq"; sid:13;)\n'
    wanted = from_rules(load_text(text, "r").rules)
    image = compile_image(wanted, most_common=0.01)
    left = {name.split(" (")[0] for name, _, _ in image.report["always"]}
    assert left == {"sid 6", "sid 7", "sid 8", "sid 9", "sid 12", "sid 5", "sid 10"}
    filter_ = image.prefilter()
    assert filter_.hit(b"a needle in hay") and not filter_.hit(b"GET / HTTP/1.1")
    assert compile_image(wanted).prefilter().hit(b"GET / HTTP/1.1")
    assert [one for one in image.ranges if one.tcp] == [
        PortRange(5, 6, tcp=True), PortRange(21, 21, tcp=True),
    ]  # fmt: skip


def test_ports_of_short_patterns() -> None:
    rules = {rule.sid: rule for rule in load_text(RULES).rules}
    assert ports_of(rules[3]) == [(1, 21, 21)]
    assert ports_of(rules[4]) == [(2, 53, 53)], "the narrower side"
    assert ports_of(rules[5]) == [(4, 0, 65535)]
    assert ports_of(rules[10]) == [(1, 0, 65535)]
    assert from_rules([rules[3], rules[4], rules[5]]).ranges == [
        PortRange(21, 21, tcp=True, icmp=True), PortRange(53, 53, udp=True),
    ]  # fmt: skip


def test_a_short_pattern_alone_is_only_for_its_protocol() -> None:
    wanted = from_rules(load_text(RULES).rules)
    assert PortRange(0, 65535, tcp=True, icmp=True) in wanted.ranges


SPANS = st.tuples(st.integers(1, 7), st.integers(0, 65535), st.integers(0, 3000)).map(
    lambda one: (one[0], one[1], min(one[1] + one[2], 65535))
)


@settings(deadline=None)
@given(st.lists(SPANS, max_size=40), st.integers(1, 16))
def test_merged_ranges_cover_all(spans: list[tuple[int, int, int]], most: int) -> None:
    ranges = merge(spans, most)
    assert len(ranges) <= most
    for bits, low, high in spans:
        for bit, name in ((1, "tcp"), (2, "udp")):
            if bits & bit:
                for port in (low, high, (low + high) // 2):
                    assert any(getattr(r, name) and r.low <= port <= r.high for r in ranges)
        assert not bits & 4 or any(one.icmp for one in ranges)
    if not any(bits & 4 for bits, _, _ in spans):
        assert not any(one.icmp for one in ranges)


def test_thousands_of_ports_are_merged() -> None:
    ports = random.Random(1).sample(range(65536), 5000)
    ranges = merge([(1 + port % 2, port, port) for port in ports])
    assert len(ranges) == 16
    for port in ports:
        name = ("tcp", "udp")[port % 2]
        assert any(getattr(r, name) and r.low <= port <= r.high for r in ranges)


def test_few_ranges_are_exact() -> None:
    assert merge([(1, 80, 80), (2, 53, 53), (1, 81, 90), (3, 7, 7)]) == [
        PortRange(7, 7, True, True), PortRange(53, 53, udp=True), PortRange(80, 90, tcp=True),
    ]  # fmt: skip
    assert merge([(4, 0, 65535)]) == [PortRange(icmp=True)]
    assert merge([]) == []


def test_a_list_of_patterns(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("# a comment\ni474554\n\ns00ff\n")
    assert read_list(path) == [(b"GET", True), (b"\x00\xff", False)]
    for wrong in ("x4142\n", "i4\n", "s\n", "izz\n", "i\xff\n"):
        path.write_text("s41424344\n" + wrong, encoding="latin-1")
        with pytest.raises(EngineError, match=r"list(:2)?:"):
            read_list(path)
    with pytest.raises(EngineError, match="cannot be read"):
        read_list(tmp_path / "none")


def test_bytes_as_rules_write_them() -> None:
    assert readable(b"GET |x\0\1y") == '"GET |7c|x|00 01|y"'
    assert readable(b"a" * 50).endswith('a"…')
