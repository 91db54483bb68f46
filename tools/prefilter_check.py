"""Does the prefilter miss anything, and what does it flag in vain? Hyperscan judges.

    python tools/prefilter_check.py misses                  frames with a pattern but no hit: none
    python tools/prefilter_check.py false-positives         frames with a hit but no pattern

`misses` takes real frames cut anywhere, random bytes, and every pattern planted at each of 64
alignments, at a frame's start and at its very end, in any case where the pattern allows it.
Exit status 0: nothing was missed; 1: something was; 2: what is needed is not there.

Patterns are not picked by hand: the lines of ../shared/bench/fast-patterns.txt of four bytes and
more, in order, then the contents of ../shared/rules/et-open-2021.rules in order of the file, the
same one once. `--patterns 400` takes the first 400 of them. NSDATA_SHARED names another place.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from hyperscan import Literals  # noqa: E402

from nsdata.capture import open_capture  # noqa: E402
from nsdata.errors import NsdataError  # noqa: E402
from nsdata.offload.image import PrefilterImage, compile_image  # noqa: E402
from nsdata.offload.patterns import SHORTEST, from_list, read_list, readable  # noqa: E402
from nsdata.offload.rarity import sample_frames  # noqa: E402
from nsdata.rules.keywords.payload import content_bytes  # noqa: E402
from nsdata.rules.parse import RawRule, parse_file  # noqa: E402

SHARED = Path(os.environ.get("NSDATA_SHARED") or ROOT.parent / "shared")
ALIGNMENTS = 64  # of the widest data path, bytes
CHUNK = 20_000  # frames judged at a time
SHOWN = 5  # misses printed

Literal = tuple[bytes, bool]
Frames = tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint32]]


# --- patterns and frames ----------------------------------------------------------------


def contents(rule: RawRule) -> Iterator[Literal]:
    """The positive contents of a rule as written, whatever buffer they are about."""
    for i, option in enumerate(rule.options):
        value = option.value or ""
        if option.keyword != "content" or not value.startswith('"'):
            continue
        text, _, modifiers = value[1:].rpartition('"')
        nocase = "nocase" in modifiers
        for later in rule.options[i + 1 :]:
            if later.keyword in ("content", "pcre"):
                break
            nocase |= later.keyword == "nocase"
        yield content_bytes(text), nocase


def real_patterns(count: int, shared: Path = SHARED, first: int = 0) -> list[Literal]:
    """`count` real patterns from number `first` on, as the module says."""
    found: dict[Literal, None] = {}

    def add(data: bytes, nocase: bool) -> bool:
        if len(data) >= SHORTEST:
            found.setdefault((data.lower() if nocase else data, nocase))
        return len(found) >= first + count

    for data, nocase in read_list(shared / "bench" / "fast-patterns.txt"):
        if add(data, nocase):
            return list(found)[first:]
    for rule in parse_file(shared / "rules" / "et-open-2021.rules").rules:
        for data, nocase in contents(rule):
            if add(data, nocase):
                return list(found)[first:]
    return list(found)[first:]


def joined(frames: Sequence[bytes]) -> Frames:
    """Frames one after another in a buffer."""
    length = np.array([len(one) for one in frames], dtype=np.uint32)
    offset = np.concatenate([[0], np.cumsum(length[:-1])]).astype(np.uint64)
    return np.frombuffer(b"".join(frames), dtype=np.uint8), offset, length


def real_frames(capture: Path, count: int, rng: random.Random) -> Iterator[Frames]:
    """The frames of a capture, whole in the first round, cut at both ends in the next ones."""
    done = rounds = 0
    while done < count:
        with open_capture(capture) as reader:
            for batch in reader.batches():
                data = np.array(batch.data[: int(batch.offset[-1]) + int(batch.caplen[-1])])
                offset, length = batch.offset.copy(), batch.caplen.copy()
                if rounds:
                    draw = np.random.default_rng(rng.getrandbits(64))
                    left = (draw.random(len(length)) * length / 2).astype(np.uint32)
                    right = (draw.random(len(length)) * length / 2).astype(np.uint32)
                    offset, length = offset + left, length - left - right
                yield data, offset[: count - done], length[: count - done]
                done += len(length)
                if done >= count:
                    return
        rounds += 1


def random_frames(count: int, rng: random.Random) -> Iterator[Frames]:
    """Random bytes: of all values, of few, and of text, 0 to 1,500 of them."""
    alphabets = (bytes(range(256)), b"\x00\x01\xff", bytes(range(32, 127)), b"AaBb \r\n")
    done = 0
    while done < count:
        frames = []
        for _ in range(min(CHUNK, count - done)):
            size = rng.choice((0, 3, 4, 5, 7, 8, 60, 64, 65, rng.randrange(200)))
            size = rng.randrange(1501) if rng.random() < 0.05 else size
            alphabet = rng.choice(alphabets)
            frames.append(bytes(rng.choices(alphabet, k=size)) if size else b"")
        done += len(frames)
        yield joined(frames)


def any_case(pattern: Literal, rng: random.Random) -> bytes:
    """The pattern, its letters in any case when it does not mind."""
    data, nocase = pattern
    if not nocase:
        return data
    form = rng.randrange(3)
    if form < 2:
        return data.upper() if form else data
    return bytes(b ^ 32 if chr(b).isalpha() and b < 128 and rng.random() < 0.5 else b for b in data)


def planted_frames(
    patterns: Sequence[Literal], count: int, rng: random.Random
) -> Iterator[Frames]:
    """Every pattern at every alignment in random bytes, `count` frames at least; the last byte
    of the frame is that of the pattern in half of them."""
    done, frames = 0, []
    while done < count:
        for alignment in range(ALIGNMENTS):
            for pattern in patterns:
                before = alignment + ALIGNMENTS * rng.randrange(2)
                after = rng.randrange(24) if rng.random() < 0.5 else 0
                data = any_case(pattern, rng)
                frames.append(rng.randbytes(before) + data + rng.randbytes(after))
                if len(frames) == CHUNK:
                    done += CHUNK
                    yield joined(frames)
                    frames = []
    done += len(frames)
    if frames:
        yield joined(frames)


# --- the two measurements ---------------------------------------------------------------


class Misses:
    """Judges frames: `frames` seen, `true` of them with a pattern, `missed` of those unflagged."""

    def __init__(self, image: PrefilterImage, patterns: Sequence[Literal]) -> None:
        self.patterns = patterns
        self.filter = image.prefilter()
        self.judge = Literals(patterns)
        self.frames = self.true = self.missed = 0
        self.examples: list[str] = []

    def take(self, frames: Frames) -> None:
        """Judge some more frames."""
        true = self.judge.hits(*frames)
        wrong = np.flatnonzero((true == 1) & (self.filter.hits(*frames) == 0))
        self.frames += len(true)
        self.true += int(true.sum())
        self.missed += len(wrong)
        for i in wrong[: SHOWN - len(self.examples)].tolist():
            start, size = int(frames[1][i]), int(frames[2][i])
            data = frames[0][start : start + size].tobytes()
            held = ", ".join(readable(self.patterns[n][0]) for n in sorted(self.judge.found(data)))
            self.examples.append(f"missed: {held} in {data.hex()}")


def misses(arguments: argparse.Namespace) -> int:
    """Exit status of `misses`."""
    patterns = real_patterns(arguments.patterns)
    image = compile_image(
        from_list(patterns), buckets_log2=arguments.buckets_log2, words=arguments.words
    )
    judged = Misses(image, patterns)
    rng = random.Random(arguments.seed)
    third = arguments.frames // 3
    sources = {
        "real": real_frames(SHARED / "captures" / "mixed.pcap", third, rng),
        "random": random_frames(third, rng),
        "planted": planted_frames(patterns, third, rng),
    }
    for name, source in sources.items():
        before = judged.frames, judged.true, judged.missed
        for frames in source:
            judged.take(frames)
            if sys.stderr.isatty():
                print(f"\r{name}: {judged.frames:,} frames", end="", file=sys.stderr, flush=True)
        seen, true, missed = (
            now - then
            for now, then in zip(
                (judged.frames, judged.true, judged.missed), before, strict=True
            )
        )
        print(f"{name:8} {seen:>10,} frames, {true:>9,} with a pattern, {missed:,} missed")
    for example in judged.examples:
        print(example)
    print(
        f"{len(patterns):,} patterns, 2**{arguments.buckets_log2} buckets of {arguments.words} "
        f"words: {judged.frames:,} frames, {judged.true:,} with a pattern, {judged.missed} missed"
    )
    return 1 if judged.missed else 0


def shares(
    image: PrefilterImage, patterns: Sequence[Literal], frames: Sequence[Frames]
) -> dict[str, float]:
    """Shares of all frames: `true`, `flagged`, `false`; `folding`: the false ones that hold a
    pattern but for the case of its letters, which no choice of windows can help; `of_clean`:
    false ones among the frames without a pattern."""
    exact, folded = Literals(patterns), Literals([(data, True) for data, _ in patterns])
    hit = image.prefilter().hits
    true = np.concatenate([exact.hits(*one) for one in frames])
    alike = np.concatenate([folded.hits(*one) for one in frames])
    flagged = np.concatenate([hit(*one) for one in frames])
    exact.close()
    folded.close()
    false = (flagged == 1) & (true == 0)
    clean = max(int((true == 0).sum()), 1)
    return {
        "true": float(true.mean()),
        "flagged": float(flagged.mean()),
        "false": float(false.mean()),
        "folding": float((false & (alike == 1)).mean()),
        "of_clean": float(false.sum() / clean),
        "missed": float(((true == 1) & (flagged == 0)).sum()),
    }


def halves(capture: Path) -> tuple[list[Frames], list[Frames]]:
    """The frames of a capture in batches: the first half (to learn from) and the second."""
    frames: list[Frames] = []
    with open_capture(capture) as reader:
        for batch in reader.batches():
            start, end = int(batch.offset[0]), int(batch.offset[-1]) + int(batch.caplen[-1])
            data = np.array(batch.data[start:end])
            frames.append((data, batch.offset - np.uint64(start), batch.caplen.copy()))
    middle = len(frames) // 2
    return frames[:middle], frames[middle:]


def one_by_one(frames: Sequence[Frames]) -> Iterator[NDArray[np.uint8]]:
    """Each frame of some batches."""
    for data, offset, length in frames:
        for start, size in zip(offset.tolist(), length.tolist(), strict=True):
            yield data[start : start + size]


def false_positives(arguments: argparse.Namespace) -> int:
    """Exit status of `false-positives`."""
    capture = arguments.capture or SHARED / "captures" / "mixed.pcap"
    first, second = halves(capture)
    everything = [*first, *second]

    def row(name: str, patterns: Sequence[Literal], frames: list[Frames], learn: object) -> float:
        image = compile_image(
            from_list(patterns), buckets_log2=arguments.buckets_log2, words=arguments.words,
            sample=learn,  # type: ignore[arg-type]
        )  # fmt: skip
        share = shares(image, patterns, frames)
        print(
            f"{name:38} true {100 * share['true']:6.2f} %  flagged in vain "
            f"{100 * share['false']:6.3f} % of all frames ({100 * share['folding']:.3f} % by case "
            f"alone), {100 * share['of_clean']:6.3f} % of those without a pattern  "
            f"missed {share['missed']:.0f}",
            flush=True,
        )
        return share["false"] if not share["missed"] else float("inf")

    patterns = real_patterns(arguments.patterns, first=arguments.first)
    name = f"{len(patterns):,} patterns from number {arguments.first:,}"
    result = row(name, patterns, everything, None)
    if arguments.sample:
        path = arguments.sample
        row(f"the same, learning from {path.name}", patterns, everything,
            lambda: sample_frames(path))  # fmt: skip
    if arguments.halves:
        row("the same, on the second half", patterns, second, None)
        row("… having learnt from the first half", patterns, second, lambda: one_by_one(first))
    for more in range(1, arguments.slices):
        at = arguments.first + more * arguments.patterns
        patterns = real_patterns(arguments.patterns, first=at)
        row(f"{len(patterns):,} patterns from number {at:,}", patterns, everything, None)
    return 1 if result == float("inf") else 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(required=True)
    for name, verb in (("misses", misses), ("false-positives", false_positives)):
        one = verbs.add_parser(name)
        one.add_argument("--patterns", type=int, default=400)
        one.add_argument("--buckets-log2", type=int, default=10)
        one.add_argument("--words", type=int, default=1)
        one.set_defaults(verb=verb)
        if verb is misses:
            one.add_argument("--frames", type=int, default=1_200_000)
            one.add_argument("--seed", type=int, default=1)
        else:
            one.add_argument("--first", type=int, default=0, help="number of the first pattern")
            one.add_argument("--slices", type=int, default=1, help="measure so many sets")
            one.add_argument("--capture", type=Path)
            one.add_argument("--sample", type=Path, help="also learn from this capture")
            one.add_argument("--halves", action="store_true", help="also learn from a half")
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.verb(arguments)
    except (NsdataError, OSError) as error:
        print(f"prefilter_check: {error}", file=sys.stderr)
        if not SHARED.is_dir():
            print(f"no shared files at {SHARED}; NSDATA_SHARED can name another place",
                  file=sys.stderr)  # fmt: skip
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
