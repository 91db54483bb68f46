"""Write the same forty packets of tests/captures/office.pcap in every format nsdata reads.

Out come small files in tests/captures/variants, byte for byte the same at every run; their
README says what each is for. Formats are written here by hand (struct), not by the code that
the files are there to test.

Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng, tcpdump.org/linktypes.html.

Usage: python tools/make_variants.py [OFFICE.pcap [OUT_DIR]]
"""

import gzip
import io
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import zstandard

CAPTURES = Path(__file__).parents[1] / "tests" / "captures"
COUNT, LONGEST = 40, 600  # frames taken, bytes of the longest
ETHERNET = 1
Frame = tuple[int, bytes]  # timestamp in µs, bytes


def pick(path: Path) -> list[Frame]:
    """The first COUNT untagged IP frames that are not long."""
    data = path.read_bytes()
    frames: list[Frame] = []
    at = 24
    while at < len(data) and len(frames) < COUNT:
        seconds, micros, kept, _ = struct.unpack_from("<4I", data, at)
        frame = data[at + 16 : at + 16 + kept]
        at += 16 + kept
        if kept <= LONGEST and frame[12:14] in (b"\x08\x00", b"\x86\xdd"):
            frames.append((seconds * 1_000_000 + micros, frame))
    return frames


def pcap(frames: list[Frame], order: str = "<", nano: bool = False, link: int = ETHERNET) -> bytes:
    magic, scale = (0xA1B23C4D, 1000) if nano else (0xA1B2C3D4, 1)
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    for micros, frame in frames:
        seconds, fraction = divmod(micros, 1_000_000)
        sizes = (len(frame), len(frame))
        out += [struct.pack(order + "4I", seconds, fraction * scale, *sizes), frame]
    return b"".join(out)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(order: str, resolution: int = 6, offset_s: int = 0) -> bytes:
    options = option(order, 2, b"eth0") + option(order, 9, bytes([resolution]))
    if offset_s:
        options += option(order, 14, struct.pack(order + "q", offset_s))
    return block(order, 1, struct.pack(order + "HHI", ETHERNET, 0, 0) + options + bytes(4))


def enhanced(order: str, number: int, ticks: int, frame: bytes) -> bytes:
    head = struct.pack(
        order + "5I", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)
    )
    return block(order, 6, head + frame)


def pcapng(frames: list[Frame], order: str = "<") -> bytes:
    """Two interfaces: µs, and ns counted from 1,000,000,000 s; unknown blocks in between."""
    offset_s = 1_000_000_000
    out = [section(order), interface(order), interface(order, 9, offset_s)]
    for number, (micros, frame) in enumerate(frames):
        if number % 10 == 5:
            out.append(block(order, 0x0BAD, b"nobody knows this block"))
        ticks = (micros, (micros - offset_s * 1_000_000) * 1000)[number % 2]
        out.append(enhanced(order, number % 2, ticks, frame))
    return b"".join(out)


def pcapng_simple(frames: list[Frame]) -> bytes:
    """Simple packet blocks: they have no timestamp and belong to the first interface."""
    blocks = [block("<", 3, struct.pack("<I", len(frame)) + frame) for _, frame in frames]
    return b"".join([section("<"), interface("<"), *blocks])


def pcapng_obsolete(frames: list[Frame]) -> bytes:
    """The packet block that enhanced packet blocks replaced."""
    blocks = [
        block("<", 2, struct.pack("<HH4I", 0, 0, t >> 32, t & 0xFFFFFFFF, len(f), len(f)) + f)
        for t, f in frames
    ]
    return b"".join([section("<"), interface("<"), *blocks])


def pcapng_sections(frames: list[Frame]) -> bytes:
    """A little-endian section, then a big-endian one with its own interfaces."""
    half = len(frames) // 2
    return pcapng(frames[:half]) + pcapng(frames[half:], ">")


def relink(frames: list[Frame], header: Callable[[bytes], bytes]) -> list[Frame]:
    """The same packets with another link header; `header` is given the Ethernet frame."""
    return [(micros, header(frame) + frame[14:]) for micros, frame in frames]


def is_v6(frame: bytes) -> bool:
    return frame[12:14] == b"\x86\xdd"


LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "raw": (101, lambda f: b""),
    "null": (0, lambda f: struct.pack("<I", 30 if is_v6(f) else 2)),
    "loop": (108, lambda f: struct.pack(">I", 24 if is_v6(f) else 2)),
    "ppp": (9, lambda f: b"\xff\x03" + (b"\x00\x57" if is_v6(f) else b"\x00\x21")),
    "chdlc": (104, lambda f: b"\x0f\x00" + f[12:14]),
    "sll": (113, lambda f: struct.pack(">HHH", 0, 1, 6) + f[6:12] + b"\0\0" + f[12:14]),
    "sll2": (276, lambda f: f[12:14] + struct.pack(">HIHBB", 0, 2, 1, 0, 6) + f[6:12] + b"\0\0"),
}


def gzipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", filename="", mtime=0) as file:
        file.write(data)
    return out.getvalue()


def corrupt(frames: list[Frame]) -> bytes:
    """The twentieth record claims four gigabytes."""
    whole = pcap(frames[:19])
    return whole + struct.pack("<4I", 1, 0, 0xFFFFFFF0, 0xFFFFFFF0) + pcap(frames[19:])[24:]


def variants(frames: list[Frame]) -> dict[str, bytes]:
    plain = pcap(frames)
    files = {
        "plain.pcap": plain,
        "big-endian.pcap": pcap(frames, ">"),
        "nano.pcap": pcap(frames, nano=True),
        "nano-big-endian.pcap": pcap(frames, ">", nano=True),
        "plain.pcap.gz": gzipped(plain),
        "plain.pcap.zst": zstandard.ZstdCompressor(level=10).compress(plain),
        "plain.pcapng": pcapng(frames),
        "big-endian.pcapng": pcapng(frames, ">"),
        "simple.pcapng": pcapng_simple(frames),
        "obsolete.pcapng": pcapng_obsolete(frames),
        "sections.pcapng": pcapng_sections(frames),
        "plain.pcapng.gz": gzipped(pcapng(frames)),
        "truncated.pcap": plain[:-20],
        "truncated.pcapng": pcapng(frames)[:-20],
        "truncated.pcap.gz": gzipped(plain)[:-200],
        "corrupt.pcap": corrupt(frames),
        "empty.pcap": plain[:24],
    }
    for name, (link, header) in LINKS.items():
        files[f"{name}.pcap"] = pcap(relink(frames, header), link=link)
    return files


def main() -> int:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else CAPTURES / "office.pcap"
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else CAPTURES / "variants"
    out.mkdir(parents=True, exist_ok=True)
    for name, data in variants(pick(source)).items():
        (out / name).write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
