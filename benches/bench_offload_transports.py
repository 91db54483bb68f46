"""Frames per second through the driver, by transport, on the corpus (all link types as they are).

The block holds 400 real patterns (or the demo's). Aims on mixed.pcap: model 200,000 frames/s,
rtl 10,000 at 64 b and 50,000 at 512 b.
"""

from __future__ import annotations

import pytest
from bench_offload import wanted

from nsdata.offload.driver import Driver
from nsdata.offload.image import compile_image
from nsdata.offload.rtl import sources
from nsdata.offload.transport import open_transport

# frames of a round: the RTL is simulated
CASES = [("model:64", 1 << 30), ("rtl:64", 20_000), ("rtl:512", 20_000)]


@pytest.mark.parametrize(("spec", "most"), CASES, ids=[spec for spec, _ in CASES])
@pytest.mark.parametrize("chunk", [64, 4096])
def test_frames(measure, batches, spec: str, most: int, chunk: int) -> None:
    """Frames in chunks as the pipeline hands them over (64), and large ones."""
    if spec.startswith("rtl") and (why := sources.missing()):
        pytest.skip(why)
    _, what = wanted(400)
    parts = []
    count = 0
    for one in batches:
        for at in range(0, len(one), chunk):
            if count < most:
                part = slice(at, at + chunk)
                parts.append((one.data, one.offset[part], one.caplen[part]))
                count += len(parts[-1][2])
    with Driver(open_transport(spec)) as driver:
        driver.identify()
        driver.load(compile_image(what, buckets_log2=10, words=1))
        driver.start(limit=0xFFFFFFFF)

        def run() -> None:
            driver.beat()
            for part in parts:
                driver.inspect(*part)

        measure(f"transports: {spec}, {count:,} frames by {chunk}", run, count, rounds=2)
        assert driver.poll() is None
