"""The block's contract once more, slowly and in plain Python: what judges the model."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from nsdata.offload.entry import FlowKey, Parse, PortRange

TPIDS = (0x8100, 0x88A8, 0x9100)
TUNNEL_TYPES = (0x8847, 0x8848, 0x8863, 0x8864)
TUNNEL_PROTOCOLS = (4, 41, 47, 50, 51, 94, 97, 137)
TUNNEL_PORTS = (2152, 3544, 4789, 6081)

Answer = tuple[Parse, FlowKey, bool, bool]  # parse, key, lookup, len_short
ZERO = FlowKey()


def number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def parse(frame: bytes) -> Answer:
    """Rules 1 to 8 of the parser."""
    head = frame[:88]
    n = len(head)
    length = min(len(frame), 65535)

    def no(parse: Parse, end: int = 0) -> Answer:
        return parse, ZERO, False, end > length

    if n < 14:
        return no(Parse.RUNT)
    vids: list[int] = []
    l3 = 14
    while number(head[l3 - 2 : l3]) in TPIDS:
        if len(vids) == 2:
            return no(Parse.NOT_IP)
        if n < l3 + 4:
            return no(Parse.RUNT)
        vids.append(number(head[l3 : l3 + 2]) % 4096)
        l3 += 4
    ethertype = number(head[l3 - 2 : l3])
    if ethertype in TUNNEL_TYPES:
        return no(Parse.TUNNEL)
    ip = head[l3:]
    if ethertype == 0x0800:
        if len(ip) < 20 or ip[0] >> 4 != 4 or ip[0] % 16 < 5:
            return no(Parse.MALFORMED)
        header, total = 4 * (ip[0] % 16), number(ip[2:4])
        if len(ip) < header or total < header:
            return no(Parse.MALFORMED)
        proto, src, dst = ip[9], number(ip[12:16]), number(ip[16:20])
        fragment = bool(ip[6] & 0x20) or number(ip[6:8]) % 0x2000 != 0
        fine = (6, 17, 1)
    elif ethertype == 0x86DD:
        if len(ip) < 40 or ip[0] >> 4 != 6:
            return no(Parse.MALFORMED)
        header, total = 40, 40 + number(ip[4:6])
        proto, src, dst = ip[6], number(ip[8:24]), number(ip[24:40])
        fragment = proto == 44
        fine = (6, 17, 58)
    else:
        return no(Parse.NOT_IP)
    end = l3 + total
    if fragment:
        return no(Parse.FRAGMENT, end)
    if proto in TUNNEL_PROTOCOLS:
        return no(Parse.TUNNEL, end)
    if proto not in fine:
        return no(Parse.OTHER, end)
    sport = dport = 0
    if proto in (6, 17):
        if len(ip) < header + 4 or total < header + (20 if proto == 6 else 8):
            return no(Parse.MALFORMED, end)
        sport, dport = number(ip[header : header + 2]), number(ip[header + 2 : header + 4])
        if proto == 17 and (sport in TUNNEL_PORTS or dport in TUNNEL_PORTS):
            return no(Parse.TUNNEL, end)
    outer, inner = (*vids, 0, 0)[:2]
    v6 = int(ethertype == 0x86DD)
    key = FlowKey(v6, len(vids), outer, inner, proto, src, dst, sport, dport)
    return Parse.OK, key, proto in (6, 17), end > length


def raw_crc32(data: bytes) -> int:
    """CRC-32 without initial value or final inversion."""
    return zlib.crc32(data, 0xFFFFFFFF) ^ 0xFFFFFFFF


def raw_crc32c(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def flow_set(key: int, sets_log2: int) -> int:
    return raw_crc32(key.to_bytes(41, "little")) % (1 << sets_log2)


def bucket(window: bytes, seed: int, buckets_log2: int) -> int:
    x = int.from_bytes(window[:4].lower(), "little")
    y = x ^ ((x << 11 | x >> 21) & 0xFFFFFFFF & seed)
    return raw_crc32(y.to_bytes(4, "little")) % (1 << buckets_log2)


def slots(table: Sequence[int], words: int, bucket: int) -> list[tuple[int, int]]:
    """(window length, fingerprint) of the filled slots of a bucket."""
    found = []
    for word in table[bucket * words : (bucket + 1) * words]:
        for place in range(3):
            slot = int(word) >> 21 * place & 0x1FFFFF
            if slot >> 19:
                found.append(((0, 4, 6, 8)[slot >> 19], slot & 0x7FFFF))
    return found


def prefilter_hit(
    frame: bytes, table: Sequence[int], seed: int, buckets_log2: int, words: int
) -> bool:
    for p in range(len(frame) - 3):
        for length, fp in slots(table, words, bucket(frame[p : p + 4], seed, buckets_log2)):
            if p + length <= len(frame):
                window = frame[p : p + length].lower()
                if raw_crc32c(window) & 0x7FFFF == fp:
                    return True
    return False


def ports_hit(key: FlowKey, ranges: Sequence[PortRange]) -> bool:
    for one in ranges:
        if key.proto in (1, 58) and one.icmp:
            return True
        wanted = (key.proto == 6 and one.tcp) or (key.proto == 17 and one.udp)
        if wanted and any(one.low <= port <= one.high for port in (key.sport, key.dport)):
            return True
    return False


def signature(entries: Sequence[Sequence[int]], start: int = 0) -> int:
    total = 0
    for i, words in enumerate(entries):
        if any(words):
            payload = b"".join(int(word).to_bytes(8, "little") for word in words)
            total ^= zlib.crc32((start + i).to_bytes(4, "little") + payload)
    return total
