"""Types of the compiled module; the C interface is in defrag.pxd."""

from collections.abc import Sequence

POLICIES: dict[str, int]

class Defrag:
    """Reassembler of IPv4 and IPv6 fragments; see defrag.pyx for the limits."""

    def __init__(
        self,
        *,
        max_trackers: int = 65535,
        memcap: int = 33554432,
        timeout_s: float = 60,
        seed: int = 0,
        max_fragments: int = 8192,
        policy: str = "bsd",
    ) -> None: ...
    def stats(self) -> dict[str, int]: ...
    def expire_before(self, now_ns: int) -> None: ...
    def feed(
        self, datagram: bytes, ts_ns: int = 0, vlan: Sequence[int] = ()
    ) -> tuple[bytes | None, list[str]]: ...
