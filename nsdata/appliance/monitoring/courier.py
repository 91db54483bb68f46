"""Takes notifications from an outbox to its target, in a thread of its own: again until it works.

After a failure it waits twice as long as after the one before, with jitter, so that targets that
come back are not met by all at once. In order: one that fails holds up those behind it, until it
is given up.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from nsdata.appliance.monitoring.notification import Failed, Notification, Refused, Target
from nsdata.appliance.monitoring.outbox import Outbox
from nsdata.errors import OutputError

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0
LOOK_S = 2.0  # between two looks into the store
log = logging.getLogger(__name__)


def wait_after(failures: int, chance: float) -> float:
    """Seconds to wait after so many failures in a row; chance: 0 … 1, half of it is jitter."""
    longest: float = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures - 1, 20))
    return longest * (0.5 + 0.5 * chance)


class Courier(threading.Thread):
    """Of one target. say: is told when it begins to fail, and when it works again."""

    def __init__(
        self, name: str, outbox: Outbox, target: Target, give_up_ns: int,
        say: Callable[[str, bool, str], None],
    ) -> None:  # fmt: skip
        super().__init__(name=name, daemon=True)
        self.outbox, self.target = outbox, target
        self.give_up_ns = give_up_ns
        self.sent = self.failures = self.refused = self.expired = 0
        self.failing = 0  # in a row
        self._say = say
        self._wake = threading.Event()
        self._stopping = False

    def wake(self) -> None:
        """There is something, or it is to stop."""
        self._wake.set()

    def run(self) -> None:
        """Until it is told to stop."""
        unreadable = ""
        look = 0.0
        while not self._stopping:
            if time.monotonic() >= look:
                try:
                    self.outbox.refill()
                    unreadable = ""
                except OutputError as error:
                    if not unreadable:
                        log.warning("%s", error, extra={"event": "store unreadable"})
                    unreadable = str(error)
                look = time.monotonic() + LOOK_S
            one = self.outbox.next()
            if one is None:
                self._rest(LOOK_S)
                continue
            wait = self._try(one)
            if wait:
                end = time.monotonic() + wait
                while not self._stopping and (left := end - time.monotonic()) > 0:
                    self._rest(left)
        self.target.close()

    def _rest(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def _try(self, one: Notification) -> float:
        """Try to deliver it; seconds to wait before the next."""
        try:
            answer = self.target.deliver(one)
        except Refused as error:
            self.refused += 1
            log.error("%s was refused by %s: %s", one.id, self.name, error,
                      extra={"event": "notification refused"})  # fmt: skip
            self._say("notification refused", True, str(error))
            self.outbox.settle(one)
            return 0.0
        except Failed as error:
            self.failures += 1
            self.failing += 1
            if self.failing == 1:
                log.warning("%s: %s", self.name, error, extra={"event": "notification failed"})
                self._say("notification failed", True, str(error))
            if time.time_ns() - one.at_ns > self.give_up_ns:
                self.expired += 1
                log.error("%s is given up: %s", one.id, error, extra={"event": "given up"})
                self.outbox.settle(one)
            return max(wait_after(self.failing, random.random()), error.after_s)
        self.sent += 1
        self.outbox.settle(one)
        log.info("%s: %s", one.summary, answer, extra={"event": "notified"})
        if self.failing:
            self.failing = 0
            self._say("notification works again", False, answer)
        return 0.0

    def stop(self, wait_s: float) -> None:
        """Deliver what waits, for so long at most; the rest is kept for the next start."""
        end = time.monotonic() + wait_s
        while self.is_alive() and len(self.outbox) and not self.failing:
            if (left := end - time.monotonic()) <= 0:
                break
            self._wake.set()
            time.sleep(min(left, 0.01))
        self._stopping = True
        self._wake.set()
        self.join(max(0.0, end - time.monotonic()))
