"""How often somebody may fail within a time; kept in memory, bounded."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Any

from nsdata.manager.problems import Problem

KEYS = 10_000  # whose tries are remembered


class Throttle:
    """A try counts from its beginning, so that those that are judged at the same time are no more
    than those one after another; one that went well is given back."""

    def __init__(self, most: int, within_ns: int) -> None:
        self.most, self.within_ns = most, within_ns
        self._tries: OrderedDict[Hashable, deque[int]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: Hashable, now: int) -> int:
        """A try; or how long until there is one (nanoseconds)."""
        with self._lock:
            tries = self._tries.setdefault(key, deque())
            self._tries.move_to_end(key)
            while tries and tries[0] <= now - self.within_ns:
                tries.popleft()
            if len(tries) >= self.most:
                return tries[0] + self.within_ns - now
            tries.append(now)
            while len(self._tries) > KEYS:
                self._tries.popitem(last=False)
            return 0

    def give_back(self, key: Hashable, taken: int) -> None:
        """The try that was taken then."""
        with self._lock:
            tries = self._tries.get(key)
            if tries and taken in tries:
                tries.remove(taken)

    def forget(self, *keys: Hashable) -> None:
        """They begin anew."""
        with self._lock:
            for key in keys:
                self._tries.pop(key, None)

    def forget_all(self, name: str) -> None:
        """All keys that are tuples with this beginning."""
        with self._lock:
            for key in [k for k in self._tries if isinstance(k, tuple) and k[0] == name]:
                del self._tries[key]


def too_many(wait_ns: int, what: str = "failed tries") -> Problem:
    """429, and when there is another try."""
    seconds = -(-wait_ns // 10**9)
    return Problem(
        429,
        f"too many {what}; the next one is possible in {seconds} s",
        headers={"Retry-After": str(seconds)},
    )


def origin(source: str) -> str:
    """Who counts as one address: of IPv6 its /64, all of which a single host may use."""
    found: Any
    try:
        found = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source
    if found.version == 4:
        return source
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), 64), strict=False))
