"""The reader alone: a capture mapped, its records indexed, no frame looked at."""

from pathlib import Path

import pytest
import runs
from corpus import OFFICE, Corpus

VARIANTS = OFFICE.parent / "variants"


def test_reader(measure, corpus: Corpus) -> None:
    measure(f"capture: {corpus.capture.name}", lambda: runs.read(corpus.capture, corpus.loops),
            corpus.packets)  # fmt: skip


@pytest.mark.parametrize("packed", ["plain", "gzip", "zstd"])
def test_reader_of_office(measure, packed: str, tmp_path: Path) -> None:
    """The same capture as a file and compressed."""
    import gzip

    import zstandard

    pack = {"plain": bytes, "gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}
    path = tmp_path / f"office.{packed}"
    path.write_bytes(pack[packed](OFFICE.read_bytes()))
    measure(f"capture: office.pcap, {packed}", lambda: runs.read(path, 10), 10 * runs.read(path))
