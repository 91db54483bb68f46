"""The heart of evidence, in a line."""

from typing import Any

import pytest

from nsdata.output.shown import gist

MS, MIB = 1_000_000, 1 << 20


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        ({"given": {"process": "port", "silence_ns": 612 * MS, "limit_ns": 500 * MS}},
         "port, silent for 612 ms, limit 500 ms"),
        ({"given": {"process": "worker-0", "rss_bytes": 96 * MIB, "maximum_bytes": 64 * MIB}},
         "worker-0, has 96 MiB, maximum 64 MiB"),
        ({"given": {"process": "worker-0", "rss_bytes": None, "maximum_bytes": MIB}}, "worker-0"),
        ({"ratio": 0.926, "threshold": 0.9, "attribution": "over-subscription"},
         "92.6 % dropped, threshold 90.0 %, over-subscription"),
        ({"given": {"score": 35, "sensors": [
            {"sensor": "disk", "level": "red", "value": 99, "unit": "%"},
            {"sensor": "fan", "level": "yellow", "value": 800, "unit": "rpm"}]}},
         "score 35, disk 99 %"),
        ({"given": {"note": "maintenance"}}, "maintenance"),
        ({"given": None}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_the_heart_of_evidence(evidence: dict[str, Any], said: str) -> None:
    assert gist(evidence) == said
