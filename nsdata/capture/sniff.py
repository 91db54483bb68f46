"""What a file looks like by its first bytes: for choosing a reader, and for hints."""

from __future__ import annotations

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"

# First bytes -> what it is, what to do about it.
_KNOWN: tuple[tuple[bytes, str, str], ...] = (
    (b"BZh", "bzip2 data", "decompress it first: bzip2 -d"),
    (b"\xfd7zXZ\x00", "xz data", "decompress it first: xz -d"),
    (b"\x04\x22\x4d\x18", "lz4 data", "decompress it first: lz4 -d"),
    (b"PK\x03\x04", "a zip archive", "unzip it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"snoop\x00\x00\x00", "a snoop capture", "convert it: editcap -F pcapng IN OUT"),
    (b"GMBU", "a Network Monitor capture", "convert it: editcap -F pcapng IN OUT"),
    (b"RTSS", "a Network Monitor 1 capture", "convert it: editcap -F pcapng IN OUT"),
    (b"TRSNIFF data", "a Sniffer capture", "convert it: editcap -F pcapng IN OUT"),
    (b"\xa1\xe2\xcb\x12", "an IXIA lcap capture", "convert it: editcap -F pcapng IN OUT"),
    (b"\x7fELF", "a program", "give a capture file"),
    (b"%PDF", "a PDF document", "give a capture file"),
    (b"\x89PNG", "an image", "give a capture file"),
    (b"SQLite format 3", "an SQLite database", "give a capture file"),
)
_EXPECT = "expected pcap or pcapng, plain or compressed by gzip or zstd"


def compression(head: bytes) -> str | None:
    """ "gzip", "zstd" or None, by the first bytes of a file (not by its name)."""
    if head.startswith(GZIP):
        return "gzip"
    # Skippable frames (184D2A50 to 184D2A5F) may stand in front of the first zstd frame.
    if head.startswith(ZSTD) or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return "zstd"
    return None


def describe(head: bytes) -> str:
    """Why `head`, the first bytes of a file, are no capture, and what to try."""
    for magic, name, advice in _KNOWN:
        if head.startswith(magic):
            return f"this looks like {name}, not a capture; {advice}"
    if head[257:262] == b"ustar":
        return "this looks like a tar archive, not a capture; unpack it first: tar -x"
    text = head.lstrip(b"\xef\xbb\xbf")
    if text.lstrip()[:1] in (b"{", b"["):
        return f"this looks like JSON, not a capture; {_EXPECT}"
    if text.lstrip()[:1] == b"<":
        return f"this looks like XML or HTML, not a capture; {_EXPECT}"
    if text and all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in text[:256]):
        if text.lstrip().startswith((b"alert ", b"drop ", b"pass ", b"reject ", b"#")):
            return "this looks like a rule file, not a capture; rules are given with --rules"
        return f"this looks like a text file, not a capture; {_EXPECT}"
    if not any(head):
        return f"the file begins with zeros only; {_EXPECT}"
    return f"this is not a capture (it begins with {head[:4].hex(' ')}); {_EXPECT}"
