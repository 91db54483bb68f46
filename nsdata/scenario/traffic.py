"""What is offered: frames of captures or made up, again and again, at a rate that may change."""

from __future__ import annotations

import ipaddress
import math
import struct
from pathlib import Path

import numpy as np

from nsdata.capture import Batch, CaptureWriter
from nsdata.capture.whole import joined, read_whole
from nsdata.errors import CaptureError, SettingError
from nsdata.scenario.clock import EPOCH_NS
from nsdata.scenario.scenario import Generate, Scenario

ETHERNET = 1
STEP_NS = 1_000_000  # frames are handed on together, at most so much late
MOST_BYTES = 256 << 20  # of captures, held in memory
PICO = 10**12
_WORD = b"ATTACK"


def offered(scenario: Scenario) -> Batch:
    """All frames of a round. Raises SettingError, naming the line, for captures that cannot be."""
    traffic = scenario.file.traffic
    if traffic.generate is not None:
        return generated(traffic.generate)
    pieces = []
    for number, given in enumerate(traffic.captures):
        place = scenario.place("traffic", "captures", number)
        path = scenario.found(given)
        try:
            if path.stat().st_size > MOST_BYTES:
                raise SettingError(f"{place}: traffic.captures: {given} is larger than 256 MiB")
            pieces.append(read_whole(path))
        except (CaptureError, OSError) as error:
            raise SettingError(f"{place}: traffic.captures: {error}") from None
    return joined(pieces)


def generated(plan: Generate) -> Batch:
    """Frames of made-up traffic: a question and an answer of each flow, in turn. With
    `attack_every` as many rounds as it takes for every so many-th frame to be one."""
    rounds = 1
    if plan.attack_every:
        rounds = math.lcm(2 * plan.flows, plan.attack_every) // (2 * plan.flows)
    frames = []
    for number in range(2 * plan.flows * rounds):
        flow, answer = divmod(number % (2 * plan.flows), 2)
        attack = plan.attack_every and number % plan.attack_every == plan.attack_every - 1
        frames.append(_frame(flow, bool(answer), bool(attack), plan.size))
    n = len(frames)
    lengths = np.full(n, plan.size, np.uint32)
    return Batch(
        np.frombuffer(b"".join(frames), np.uint8),
        np.arange(n, dtype=np.uint64) * np.uint64(plan.size),
        lengths, lengths.copy(), np.zeros(n, np.uint64), np.full(n, ETHERNET, np.uint16),
    )  # fmt: skip


def _frame(flow: int, answer: bool, attack: bool, size: int) -> bytes:
    client = ipaddress.IPv4Address(0x0A010000 + 1 + flow).packed
    server = ipaddress.IPv4Address(0x0A640000 + 1 + flow % 251).packed
    ports = (5000, 20000 + flow) if answer else (20000 + flow, 5000)
    source, target = (server, client) if answer else (client, server)
    room = size - 42
    said = b"%s flow %d " % (b"answer" if answer else b"question", flow)
    payload = ((_WORD + b" " if attack else b"") + said).ljust(room, b".")[:room]
    head = struct.pack("!BBHHHBBH", 0x45, 0, size - 14, 1, 0, 64, 17, 0) + source + target
    head = head[:10] + struct.pack("!H", _ones(head)) + head[12:]
    udp = struct.pack("!HHHH", *ports, 8 + room, 0) + payload
    total = _ones(source + target + struct.pack("!HH", 17, len(udp)) + udp) or 0xFFFF
    udp = udp[:6] + struct.pack("!H", total) + udp[8:]
    return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0" + head + udp


def _ones(data: bytes) -> int:
    """RFC 1071 checksum."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    total += (data[-1] << 8) if len(data) & 1 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Wire:
    """Frames in virtual time. The frame number k since the last change of rate comes
    k / rate after it; its time stamp says when."""

    def __init__(self, frames: Batch, rate: float, start_ns: int) -> None:
        self.frames = frames
        self.came = 0  # all that were taken
        self._at = 0
        self._rate_milli = 0
        self._base_ns = start_ns
        self._since = 0  # taken since the last change of rate
        self.rate = 0.0
        self.offer(rate, start_ns)

    def offer(self, rate: float, now_ns: int) -> None:
        """Another rate (packets/s; 0: nothing comes) from now on."""
        self.rate = rate
        self._rate_milli = round(rate * 1000)
        self._base_ns, self._since = now_ns, 0

    def _due(self, number: int) -> int:
        return self._base_ns + number * PICO // self._rate_milli

    def next_ns(self) -> int | None:
        """When frames are to be taken: up to STEP_NS together. None: nothing comes."""
        if not self._rate_milli:
            return None
        due = self._due(self._since)
        return -(-(due + 1) // STEP_NS) * STEP_NS

    def take(self, until_ns: int, most: int | None = None) -> Batch | None:
        """The frames that come before `until_ns`, at most `most`; None when there are none."""
        if not self._rate_milli or until_ns <= self._due(self._since):
            return None
        before = -(-(until_ns - self._base_ns) * self._rate_milli // PICO)
        n = min(before - self._since, len(self.frames))
        if most is not None:
            n = min(n, most)
        if n <= 0:
            return None
        index = (self._at + np.arange(n)) % len(self.frames)
        first = self._since * PICO
        base = self._base_ns + first // self._rate_milli
        times = (first % self._rate_milli + np.arange(n, dtype=np.int64) * PICO) // self._rate_milli
        self._at = (self._at + n) % len(self.frames)
        self._since += n
        self.came += n
        whole = self.frames
        return Batch(
            whole.data, whole.offset[index], whole.caplen[index], whole.wirelen[index],
            (times + base).astype(np.uint64), whole.linktype[index],
        )  # fmt: skip


def written(frames: Batch, path: Path, rate: float) -> Path:
    """The frames as a capture file for an appliance to play, their times as at this rate."""
    step = max(1, round(1e9 / rate))
    times = np.uint64(EPOCH_NS) + np.arange(len(frames), dtype=np.uint64) * np.uint64(step)
    batch = Batch(frames.data, frames.offset, frames.caplen, frames.wirelen, times, frames.linktype)
    with CaptureWriter(path) as writer:
        writer.write(batch, np.ones(len(frames), np.bool_))
    return path
