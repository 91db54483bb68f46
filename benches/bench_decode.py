"""Decoding: our stage on a whole capture, and dpkt and scapy on frames of the same."""

import dpkt
import pytest
import runs
from corpus import Corpus, frames_of

from nsdata.capture import Batch

PEER_FRAMES = 4000  # scapy needs about 0.1 ms for each


@pytest.mark.parametrize("checksums", [False, True], ids=["no-checksums", "checksums"])
def test_decode(measure, corpus: Corpus, batches: list[Batch], checksums: bool) -> None:
    name = "checksums validated" if checksums else "no checksums"
    measure(f"decode: {name}", lambda: runs.decode(batches, checksums), corpus.frames, rounds=9)


def decode_dpkt(frames: list[bytes]) -> int:
    """Decode as far as dpkt goes by itself; its refusals count as done."""
    refused = 0
    for frame in frames:
        try:
            dpkt.ethernet.Ethernet(frame)
        except Exception:
            refused += 1
    return refused


def test_dpkt(measure, batches: list[Batch]) -> None:
    frames = frames_of(batches, PEER_FRAMES)
    measure("decode: dpkt", lambda: decode_dpkt(frames), len(frames))


def test_scapy(measure, batches: list[Batch]) -> None:
    from scapy.layers.l2 import Ether

    frames = frames_of(batches, PEER_FRAMES)
    measure("decode: scapy", lambda: [Ether(frame) for frame in frames], len(frames), rounds=3)


def test_against_dpkt(benchmark, figures, corpus: Corpus, batches: list[Batch]) -> None:
    """Decode and dpkt in turn on the same frames; the ratio of their packets/s."""
    frames = frames_of(batches, 10 * PEER_FRAMES)
    ratios: dict[bool, list[float]] = {False: [], True: []}

    def turn() -> None:
        dpkt_each = runs.timed(lambda: decode_dpkt(frames)) / len(frames)
        for checksums, values in ratios.items():
            ours = runs.timed(lambda c=checksums: runs.decode(batches, c)) / corpus.frames
            values.append(dpkt_each / ours)

    benchmark.group = "in turn"
    benchmark.pedantic(turn, rounds=7, warmup_rounds=1)
    for checksums, values in ratios.items():
        name = "checksums validated" if checksums else "no checksums"
        benchmark.extra_info[name] = figures.ratio(f"decode ({name}) / dpkt", values[1:], 100)
