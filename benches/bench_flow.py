"""The flow table: UDP packets spread over few and many flows, through an engine without rules.

A row is decode + flow + verdict; take off `decode alone` for what the table costs. With many
flows each packet meets a flow that is not in the cache, which is what the row is about.
"""

import numpy as np
import pytest
import runs

from nsdata.capture import Batch
from nsdata.path.decode import decode_batch

PACKETS = 200_000
SIZE = 60


def udp_frames(flows: int) -> list[Batch]:
    """PACKETS frames, 64 bytes on the wire with the FCS, round and round over `flows` flows."""
    head = bytes.fromhex("02000000000202000000000108004500002e000040004011000000000000c0a80001")
    frame = np.frombuffer(head + bytes.fromhex("00000035001a0000"), np.uint8)
    data = np.zeros((PACKETS, SIZE), np.uint8)
    data[:, : len(frame)] = frame
    number = np.arange(PACKETS, dtype=np.uint32) % flows
    address = (np.uint32(10 << 24) + number // 50_000).astype(">u4")
    port = (10_000 + number % 50_000).astype(">u2")
    data[:, 26:30] = address.view(np.uint8).reshape(-1, 4)
    data[:, 34:36] = port.view(np.uint8).reshape(-1, 2)
    size = np.full(PACKETS, SIZE, np.uint32)
    ts_ns = 1_700_000_000_000_000_000 + np.arange(PACKETS, dtype=np.uint64) * np.uint64(1000)
    offset = np.arange(PACKETS, dtype=np.uint64) * np.uint64(SIZE)
    linktype = np.ones(PACKETS, np.uint16)
    frames = data.reshape(-1)
    assert decode_batch(frames, offset, size, size, linktype) == (PACKETS, PACKETS * 18, 0)
    return [Batch(frames, offset, size, size, ts_ns, linktype)]


@pytest.mark.parametrize("flows", [1, 1000, 100_000])
def test_flows(measure, no_rules, fresh, flows: int) -> None:
    batches = udp_frames(flows)
    (machine,) = fresh(no_rules, checksums=False)()
    runs.engine(batches, machine)
    assert machine.stats()["flow"]["created"] == flows
    measure(
        f"flow: UDP over {flows:,} flows (with decode)",
        lambda machine: runs.engine(batches, machine),
        PACKETS,
        setup=fresh(no_rules, checksums=False),
    )


def test_decode_alone(measure) -> None:
    batches = udp_frames(1000)
    measure("flow: decode alone of these frames", lambda: runs.decode(batches, False), PACKETS)
