from typing import Any

STATE_NAMES: tuple[str, ...]
POLICIES: tuple[str, ...]

class StreamTracker:
    """Tracks TCP sessions and reassembles their streams; see the module."""
    def __init__(
        self,
        *,
        inline: bool = False,
        toserver_chunk: int = 2560,
        toclient_chunk: int = 2560,
        overlap: int = 256,
        depth: int = 1 << 20,
        memcap: int = 64 << 20,
        midstream: bool = False,
        async_oneside: bool = False,
        ignore_bad_checksum: bool = True,
        policy: str = "bsd",
        max_segments: int = 1024,
    ) -> None: ...
    def stats(self) -> dict[str, int]: ...

class Conversation:
    """One TCP flow, fed segment by segment; tells what the stage made of each."""
    def __init__(
        self, tracker: StreamTracker | None = None, *, sport: int = 40000, dport: int = 80
    ) -> None: ...
    def feed(
        self,
        dir: int,
        flags: str,
        seq: int,
        ack: int = 0,
        payload: bytes = b"",
        *,
        ts: float = 0,
        window: int = 65535,
        wscale: int | None = None,
        tsval: int | None = None,
        tsecr: int = 0,
        options: bytes = b"",
        bad_checksum: bool = False,
        inspect: bool = True,
        more: bool = True,
    ) -> dict[str, Any]: ...
    def flush(self, dir: int) -> list[tuple[int, bytes, bytes]]: ...
    def set_policy(self, dir: int, name: str) -> None: ...
    def mark(self, flags: int) -> None: ...
    def close(self) -> None: ...

def drive(tracker: StreamTracker, segments: int, size: int, rounds: int = 1) -> None: ...
