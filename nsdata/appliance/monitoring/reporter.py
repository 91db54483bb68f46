"""The reporter's process: it tells the world of the appliance, so that nobody else has to wait.

    notice board ─► Figures ─► /metrics          channel, store ─► outbox ─► courier ─► webhook
    (figures)                                    (transitions …)          └► courier ─► syslog

It is not critical: when it hangs or dies it is replaced, and the appliance goes on as before.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from nsdata.appliance.channel import Message, close_all
from nsdata.appliance.child import BEAT_NS, Child
from nsdata.appliance.memory import view
from nsdata.appliance.monitoring.board import Board
from nsdata.appliance.monitoring.courier import Courier
from nsdata.appliance.monitoring.metrics import Figures
from nsdata.appliance.monitoring.notification import TEST, Failed, Notification, Refused, Target
from nsdata.appliance.monitoring.outbox import Outbox
from nsdata.appliance.monitoring.scrape import MetricsServer
from nsdata.appliance.monitoring.settings import MetricsSettings, NotifySettings, read_secret
from nsdata.appliance.monitoring.syslog import Syslog
from nsdata.appliance.monitoring.webhook import Webhook
from nsdata.appliance.store import StoreReader
from nsdata.errors import EngineError

LISTEN_NS = 5_000_000_000  # between two tries to listen
LAST_S = 1.0  # for what waits, at the end
log = logging.getLogger(__name__)


class LateTarget:
    """A target that is set up when it is first needed: what it lacks then may be there later."""

    def __init__(self, settings: NotifySettings, name: str) -> None:
        self._settings, self._name = settings, name
        self._target: Target | None = None

    def deliver(self, one: Notification) -> str:
        """Set it up if need be, and hand over. Raises Refused or Failed."""
        if self._target is None:
            self._target = make_target(self._settings, self._name)
        return self._target.deliver(one)

    def close(self) -> None:
        """Let go."""
        if self._target is not None:
            self._target.close()


def make_target(settings: NotifySettings, name: str) -> Target:
    """The target of that name. Raises Failed."""
    if name == "webhook" and settings.webhook is not None:
        return Webhook(settings.webhook)
    if name == "syslog" and settings.syslog is not None:
        return Syslog(settings.syslog)
    raise Failed(f"no {name} is set up")


class ReporterProcess:
    """The loop. `plan`: board, a descriptor. `setup`: name, directory, since_ns, metrics, notify
    (settings; not in the plan, which others can see on the command line)."""

    def __init__(self, child: Child, plan: dict[str, Any]) -> None:
        self.child = child
        self.board = Board(view(plan["board"], read_only=True))
        self.said: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self.couriers: dict[str, Courier] = {}
        self.server: MetricsServer | None = None
        self.name = ""
        self.metrics = MetricsSettings(listen=None)
        self.notify = NotifySettings()
        self.set_up = False
        self.listen_ns = 0
        self.unheard = ""  # why nobody can scrape
        for what in ("setup", "event", "test"):
            child.on(what, getattr(self, f"_{what}"))

    # --- orders -----------------------------------------------------------------------------

    def _setup(self, message: Message, descriptors: list[int]) -> None:
        close_all(descriptors)
        self.name = message["name"]
        self.metrics = MetricsSettings.model_validate(message["metrics"])
        self.notify = NotifySettings.model_validate(message["notify"])
        directory = Path(message["directory"])
        for name, settings in self.notify.targets.items():
            reader = StoreReader(directory / "appliance.db")
            outbox = Outbox(directory / f"notified-{name}.json", reader, self.name, self.notify.on,
                            message["since_ns"])  # fmt: skip
            courier = Courier(name, outbox, LateTarget(self.notify, name), settings.give_up,
                              self._courier_said(name))  # fmt: skip
            self.couriers[name] = courier
            courier.start()
        self.set_up = True

    def _courier_said(self, target: str) -> Any:
        def say(what: str, failing: bool, why: str) -> None:
            self.said.put(("told", {"event": what, "target": target, "why": why}))

        return say

    def _event(self, message: Message, descriptors: list[int]) -> None:
        close_all(descriptors)
        one = Notification(self.name, message["at_ns"], message["kind"], message["told"])
        for courier in self.couriers.values():
            courier.outbox.offer(one)
            courier.wake()

    def _test(self, message: Message, descriptors: list[int]) -> None:
        """Tell every target that this is a test, beside what waits; say what came of it."""
        close_all(descriptors)
        one = Notification(self.name, time.time_ns(), TEST, {"note": message.get("note", "")})
        for target in self.notify.targets:
            threading.Thread(
                target=self._try_target, args=(target, one, message["number"]), daemon=True
            ).start()

    def _try_target(self, target: str, one: Notification, number: int) -> None:
        made = LateTarget(self.notify, target)
        try:
            delivered, why = True, made.deliver(one)
        except (Refused, Failed) as error:
            delivered, why = False, str(error)
        finally:
            made.close()
        told = {"number": number, "target": target, "delivered": delivered, "why": why}
        self.said.put(("tested", told))

    # --- metrics ----------------------------------------------------------------------------

    def _listen(self, now: int) -> None:
        """Begin to serve /metrics, or try again when that failed."""
        address = self.metrics.listen
        if address is None or self.server is not None or now < self.listen_ns:
            return
        self.listen_ns = now + LISTEN_NS
        registry = CollectorRegistry()
        registry.register(Figures(self.board.read, self._own, time.monotonic_ns))
        try:
            token = read_secret(self.metrics.token_file) if self.metrics.token_file else None
            self.server = MetricsServer(address.host, address.port, registry, token)
        except (OSError, ValueError) as error:
            why = f"{address}: {getattr(error, 'strerror', None) or error}"
            if why != self.unheard:
                log.error("metrics are not served at %s", why, extra={"event": "metrics"})
                self.said.put(("told", {"event": "metrics not served", "why": why}))
            self.unheard = why
            return
        self.server.start()
        self.unheard = ""
        log.info("metrics are served at %s port %d", address.host, self.server.port,
                 extra={"event": "metrics"})  # fmt: skip
        self.said.put(("listening", {"host": address.host, "port": self.server.port}))

    def _own(self) -> Iterable[Metric]:
        """What the reporter says of itself, since it was started."""
        sent, failures, abandoned = (
            CounterMetricFamily(f"nsdata_{name}", text, labels=["target", *more])
            for name, text, more in (
                ("notifications_sent", "Notifications delivered.", []),
                ("notification_failures", "Tries to deliver one that failed.", []),
                ("notifications_abandoned", "Notifications that will not be delivered: the target "
                 "refused them, or they were tried for too long.", ["why"]),
            )
        )  # fmt: skip
        waiting = GaugeMetricFamily(
            "nsdata_notifications_waiting", "Notifications not delivered yet, those that are in "
            "the store only left out.", labels=["target"])  # fmt: skip
        for name, courier in self.couriers.items():
            sent.add_metric([name], courier.sent)
            failures.add_metric([name], courier.failures)
            abandoned.add_metric([name, "refused"], courier.refused)
            abandoned.add_metric([name, "expired"], courier.expired)
            waiting.add_metric([name], len(courier.outbox))
        yield from (sent, failures, abandoned, waiting)
        if self.server is not None:
            for name, text, value in (
                ("scrapes", "Requests for these metrics that were answered.", self.server.scrapes),
                ("scrapes_refused", "Requests without the right token or for another path.",
                 self.server.refused),
                ("scrapes_evicted", "Connections ended because they took too long, or made room "
                 "for others.", self.server.evicted),
            ):  # fmt: skip
                family = CounterMetricFamily(f"nsdata_{name}", text)
                family.add_metric([], value)
                yield family

    # --- the loop ---------------------------------------------------------------------------

    def _tell(self) -> None:
        """Pass on what threads had to say; a thread that has failed ends the process."""
        while not self.said.empty():
            what, members = self.said.get()
            self.child.tell(what, **members)
        for courier in self.couriers.values():
            if not courier.is_alive():
                raise EngineError(f"nobody delivers to {courier.name} any more")

    def loop(self) -> None:
        """Until it is told to stop or the supervisor is gone."""
        while not (self.child.stopping or self.child.orphan):
            self.child.listen()
            self.child.page.beat()
            if self.set_up:
                self._listen(time.monotonic_ns())
            self._tell()
            self.child.pause(BEAT_NS)
        for courier in self.couriers.values():
            courier.stop(LAST_S / len(self.couriers))
        if self.server is not None:
            self.server.stop()


def run(child: Child, plan: dict[str, Any]) -> None:
    """Be the reporter."""
    process = ReporterProcess(child, plan)
    child.tell("ready")
    process.loop()
