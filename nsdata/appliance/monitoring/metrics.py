"""What an appliance's figures are called in Prometheus.

Names by https://prometheus.io/docs/practices/naming/: base units, `_total` for what only grows.
docs/monitoring.md holds the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from nsdata.fallback.controller import Outcome, Trigger
from nsdata.fallback.ledger import Fate, Why
from nsdata.fallback.reasons import Reason, State
from nsdata.fallback.sensor import Level

NS = 1e9
Notice = Mapping[str, Any]
Family = TypeVar("Family", CounterMetricFamily, GaugeMetricFamily)
UNITS = {"°C": "celsius", "%": "percent"}  # the label; the value stays as it was read


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"nsdata_{name}", text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"nsdata_{name}", text, labels=labels)


def _single(family: Family, value: float) -> Family:
    family.add_metric([], value)
    return family


def _one_hot(
    name: str, text: str, label: str, all_of: Iterable[str], now: str
) -> GaugeMetricFamily:
    family = _gauge(name, text, label)
    for one in all_of:
        family.add_metric([one], one == now)
    return family


def traffic(notice: Notice) -> Iterator[Metric]:
    """The ledger: received = inspected + bypassed + blocked + lost."""
    units = (("packets", "Frames"), ("bytes", "Bytes on the wire of frames"))
    for index, (unit, what) in enumerate(units):
        yield _single(
            _counter(
                f"received_{unit}",
                f"{what} received and settled; the sum of those "
                "inspected, bypassed, blocked and lost.",
            ),
            notice["received"][index],
        )
        for fate in Fate:
            text = f"{what} {fate.text}, by reason."
            family = _counter(f"{fate.token}_{unit}", text, "reason")
            for why in Why:
                if why.fate is fate:
                    family.add_metric([why.token], notice["whys"][why.token][index])
            yield family
    port = notice["processes"].get("port")
    if port is None:
        return
    counted, latest = port["counted"], port["latest"]
    for unit, what in units:
        yield _single(
            _counter(f"forwarded_{unit}", f"{what} sent on: permitted by whoever decided."),
            counted[f"forwarded_{unit}"],
        )
        yield _single(
            _gauge(f"held_{unit}", f"{what} with the workers now: received, not settled yet."),
            latest[f"held_{unit}"],
        )
    yield _single(
        _gauge("ring_capacity_packets", "Frames the rings of all workers have room for."),
        notice["ring_frames"],
    )
    yield _single(
        _gauge(
            "ring_wait_seconds",
            "How long the frame that waits longest for a worker has "
            "waited; the queue latency that best effort judges.",
        ),
        latest["waiting_ns"] / NS,
    )
    yield _single(
        _counter("capture_failures", "Captures of the source that could not be read."),
        counted["captures_failed"],
    )


def state(notice: Notice) -> Iterator[Metric]:
    """State, reason, what led there and what comes near."""
    yield _one_hot(
        "state",
        "1 for the state it is in: normal inspects, fallback inspects nothing.",
        "state",
        State,
        notice["state"],
    )
    in_fallback = notice["state"] == State.FALLBACK
    yield _one_hot(
        "fallback_reason",
        "1 for the reason of the fallback it is in; all 0 in normal. "
        "`no error`: put there by hand.",
        "reason",
        Reason,
        notice["reason"] if in_fallback else "",
    )
    family = _counter(
        "transitions",
        "Changes of state or reason, and refusals, by outcome, reason and who asked.",
        "outcome",
        "reason",
        "trigger",
    )
    counted = {
        (o.value, r.value, t.value): 0
        for r in Reason
        for t in Trigger
        for o in (Outcome.ENTERED, Outcome.RESTORED)
        if o is Outcome.ENTERED or r is Reason.NO_ERROR
    }
    counted |= {
        (outcome, reason, trigger): n for outcome, reason, trigger, n in notice["transitions"]
    }
    for what, n in sorted(counted.items()):
        family.add_metric(what, n)
    yield family
    yield _single(
        _gauge(
            "drop_ratio",
            "Share of the packets in the window that rules dropped or that "
            "were lost; above nsdata_drop_ratio_threshold it falls back.",
        ),
        notice["drops"]["ratio"],
    )
    yield _single(
        _gauge("drop_ratio_threshold", "The drop ratio above which it falls back."),
        notice["drops"]["threshold"],
    )
    yield _single(
        _gauge(
            "inspected_share_ratio",
            "Share of the flows that is inspected while the state "
            "is normal; below 1 during a re-entry.",
        ),
        notice["share"],
    )
    text = "Events that changed no state, by kind, such as crash, recovered or reload."
    family = _counter("events", text, "event")
    for kind, n in sorted(notice["events"].items()):
        family.add_metric([kind], n)
    yield family


def health(notice: Notice) -> Iterator[Metric]:
    """The health score and what it is made of; nothing before the first reading."""
    told = notice["health"]
    if told is None:
        return
    yield _single(
        _gauge(
            "health_score",
            "100 is well; at or below nsdata_health_low_critical_score "
            "twice in a row it falls back.",
        ),
        told["score"],
    )
    yield _single(
        _gauge("health_low_critical_score", "The health score at which it falls back."),
        told["thresholds"]["low_critical"],
    )
    family = _gauge(
        "health_level",
        "1 for the level of each resource: green, yellow, red, unknown.",
        "resource",
        "level",
    )
    for resource, level in sorted(told["resources"].items()):
        for one in Level:
            family.add_metric([resource, one.value], one.value == level)
    yield family
    family = _gauge(
        "sensor_value",
        "The last usable value of each sensor, in the unit of its label.",
        "sensor",
        "resource",
        "unit",
    )
    for sensor in told["sensors"]:
        if sensor["value"] is not None:
            unit = sensor["unit"] or ""
            labels = [sensor["sensor"], sensor["resource"], UNITS.get(unit, unit)]
            family.add_metric(labels, sensor["value"])
    yield family
    family = _gauge(
        "sensor_level", "1 for the level of each sensor.", "sensor", "resource", "level"
    )
    for sensor in told["sensors"]:
        for one in Level:
            labels = [sensor["sensor"], sensor["resource"], one.value]
            family.add_metric(labels, one.value == sensor["level"])
    yield family


# name, text, how of a process in the notice; None is left out
_PER_PROCESS: tuple[tuple[str, str, Callable[[Notice], float | None]], ...] = (
    ("process_up", "1 while the process is ready.", lambda p: p["phase"] == "running"),
    (
        "process_heartbeat_age_seconds",
        "How long ago its last sign of life was, when these figures were taken.",
        lambda p: None if p["beat_age_ns"] is None else p["beat_age_ns"] / NS,
    ),
    (
        "process_heartbeat_limit_seconds",
        "Longer without one is a heartbeat error.",
        lambda p: p["beat_limit_ns"] / NS,
    ),
    (
        "process_resident_bytes",
        "Resident memory, that of rings included.",
        lambda p: p["rss_bytes"],
    ),
    (
        "process_resident_limit_bytes",
        "More is a memory error; left out when there is no limit.",
        lambda p: p["rss_limit_bytes"],
    ),
)


def processes(notice: Notice) -> Iterator[Metric]:
    """The processes, and what they count."""
    all_of = notice["processes"]
    for metric, text, of in _PER_PROCESS:
        family = _gauge(metric, text, "process")
        for name, one in all_of.items():
            if (value := of(one)) is not None:
                family.add_metric([name], value)
        yield family
    restarts = _counter("process_restarts", "Starts of the process after its first.", "process")
    for name, one in all_of.items():
        restarts.add_metric([name], max(0, one["attempt"] - 1))
    yield restarts
    workers = {name: one for name, one in all_of.items() if name.startswith("worker-")}
    per_worker = (
        ("worker_batches", "batches", "Batches judged."),
        (
            "worker_inspected_frames",
            "frames",
            "Frames taken from its ring, those of answers that were not used among them.",
        ),
        (
            "worker_eve_lines_lost",
            "events_lost",
            "EVE lines that found no room on their way to the writer.",
        ),
        (
            "worker_suppressed_alerts",
            "suppressed_alerts",
            "Alerts that were not written, since too much was lost; rules acted.",
        ),
        (
            "worker_verified_packets",
            "verified_packets",
            "Packets of which rules were verified in full.",
        ),
        ("rule_reloads", "reloads", "Rule sets exchanged while running."),
    )
    for metric, word, text in per_worker:
        counter = _counter(metric, text, "process")
        for name, one in workers.items():
            counter.add_metric([name], one["counted"][word])
        yield counter
    rules = _gauge("rules_loaded", "Rules in use.", "process")
    for name, one in workers.items():
        rules.add_metric([name], one["latest"]["rules"])
    yield rules
    if writer := all_of.get("writer"):
        for metric, word, text in (
            ("eve_lines_written", "lines", "Lines written into the EVE file."),
            (
                "eve_lines_lost",
                "lines_lost",
                "Lines lost because the EVE file could not be written.",
            ),
            ("eve_write_failures", "failures", "Failures to open or write the EVE file."),
        ):
            yield _single(_counter(metric, text), writer["counted"][word])


def appliance(notice: Notice) -> Iterator[Metric]:
    """The rest: who it is, its own losses, the FPGA."""
    from nsdata import __version__

    about = InfoMetricFamily("nsdata_appliance", "Name of the appliance and version of nsdata.")
    about.add_metric([], {"appliance": notice["name"], "version": __version__})
    yield about
    yield _single(
        _gauge(
            "start_time_seconds",
            "When the supervisor started, since the epoch; counters begin at 0 there.",
        ),
        notice["started_ns"] / NS,
    )
    for metric, text, value in (
        (
            "supervisor_lines_lost",
            "The supervisor's own EVE lines that found no room on their way to the writer.",
            notice["lines_lost"],
        ),
        (
            "reporter_messages_lost",
            "Messages the reporter did not take in time; it finds them in the store.",
            notice["messages_lost"],
        ),
        (
            "store_rows_lost",
            "Rows of the store lost because it could not be written.",
            notice["store"]["rows_lost"],
        ),
    ):
        yield _single(_counter(metric, text), value)
    yield _single(
        _gauge("store_failing", "1 while the store cannot be written."), notice["store"]["failing"]
    )
    if notice["fpga"] is not None:
        yield _one_hot(
            "fpga_state",
            "1 for the state of the FPGA block: working, failed (the "
            "reason of a fallback), unused (inspection goes on without it).",
            "state",
            ("working", "failed", "unused"),
            notice["fpga"],
        )


GROUPS = (appliance, state, traffic, processes, health)


class Figures(Collector):
    """The figures of the notice that stands, each time they are asked for.

    read: the notice, None while there is none. own: what the reporter says of itself. now_ns:
    CLOCK_MONOTONIC.
    """

    def __init__(
        self,
        read: Callable[[], Notice | None],
        own: Callable[[], Iterable[Metric]],
        now_ns: Callable[[], int],
    ) -> None:
        self._read, self._own, self._now_ns = read, own, now_ns

    def collect(self) -> Iterable[Metric]:
        """Every family there is."""
        notice = self._read()
        if notice is not None:
            for group in GROUPS:
                yield from group(notice)
            yield _single(
                _gauge(
                    "figures_age_seconds",
                    "How old these figures are; above 2 the "
                    "supervisor hangs, and the port permits everything.",
                ),
                max(0, self._now_ns() - notice["at_ns"]) / NS,
            )
        yield from self._own()

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on the appliance."""
        return []
