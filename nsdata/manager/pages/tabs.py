"""The tabs *Traffic*, *Health* and *FPGA* of an appliance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import Request
from starlette.responses import Response

from nsdata.fallback.ledger import Fate, Why
from nsdata.manager.api.guard import TheService, needs
from nsdata.manager.audit import Role
from nsdata.manager.models import ApplianceDetail
from nsdata.manager.pages.appliances import ApplianceId, Seen
from nsdata.manager.pages.charts import TEXTS, draw
from nsdata.manager.pages.general import base
from nsdata.manager.pages.guard import page_router
from nsdata.manager.pages.render import Part, page
from nsdata.manager.service import Service

router = page_router()
FIGURES_S, CHARTS_S = 1, 5
LEVELS = ("red", "yellow", "unknown", "green")


def _members(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def verdicts(ledger: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What became of packets, and why: rows of a table, from an appliance's ledger."""
    whys = {why.token: why.text for why in Why}
    rows = []
    for fate in Fate:
        told = _members(ledger.get(fate.token))
        reasons = _members(told.get("reasons"))
        rows.append({
            "fate": fate.token, "text": fate.text, "packets": _count(told.get("packets")),
            "bytes": _count(told.get("bytes")),
            "reasons": [(whys.get(str(key), str(key)), _count(n)) for key, n in reasons.items()
                        if _count(n)],
        })  # fmt: skip
    return rows


def _count(given: Any) -> int:
    return given if isinstance(given, int) and not isinstance(given, bool) else 0


def _figures(request: Request, appliance: ApplianceDetail) -> Part:
    received = _count(_members(appliance.ledger.get("received")).get("packets"))
    return Part(
        request, "figures", base(appliance.id) + "/traffic", "traffic_figures.html", FIGURES_S,
        appliance=appliance, verdicts=verdicts(appliance.ledger), received=received,
    )  # fmt: skip


def _charts(request: Request, service: Service, appliance: ApplianceDetail, span: str) -> Part:
    samples = service.views.samples(appliance.id, 60 if span == "day" else 1)
    return Part(
        request, "charts", base(appliance.id) + f"/traffic?span={span}", "traffic_charts.html",
        CHARTS_S, charts=draw(samples, appliance.drop_threshold), texts=TEXTS,
        threshold=appliance.drop_threshold,
    )  # fmt: skip


@router.get("/appliances/{appliance_id}/traffic")
@needs(Role.VIEWER)
def traffic(
    request: Request, service: TheService, appliance_id: ApplianceId,
    span: Literal["minutes", "day"] = "minutes", part: Literal["", "figures", "charts"] = "",
    seen: Seen = "",
) -> Response:  # fmt: skip
    """Rates, drop ratio, verdicts, rules, tiers."""
    appliance = service.views.appliance(appliance_id)
    if part == "figures":
        return _figures(request, appliance).answer(request)
    charts = _charts(request, service, appliance, span)
    if part == "charts":
        return charts.answer(request)
    return page(
        request, "traffic.html", appliance=appliance, tab="traffic", span=span, charts=charts,
        figures=_figures(request, appliance),
    )  # fmt: skip


def _sensors(given: Any) -> list[Mapping[str, Any]]:
    found = [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []
    rank = {level: place for place, level in enumerate(LEVELS)}
    return sorted(
        found, key=lambda one: (rank.get(str(one.get("level")), 0), str(one.get("sensor", "")))
    )


@router.get("/appliances/{appliance_id}/health")
@needs(Role.VIEWER)
def health(
    request: Request, service: TheService, appliance_id: ApplianceId,
    part: Literal["", "health"] = "", seen: Seen = "",
) -> Response:  # fmt: skip
    """The score, and each sensor."""
    appliance = service.views.appliance(appliance_id)
    made = Part(
        request, "health", base(appliance_id) + "/health", "health_part.html", 2,
        appliance=appliance, sensors=_sensors(appliance.health.get("sensors")),
        resources=_sensors(appliance.health.get("resources")),
        thresholds=_members(appliance.health.get("thresholds")), processes={
            str(name): _members(told) for name, told in appliance.processes.items()
        },
    )  # fmt: skip
    if part:
        return made.answer(request)
    return page(request, "health.html", appliance=appliance, tab="health", health=made)


@router.get("/appliances/{appliance_id}/fpga")
@needs(Role.VIEWER)
def fpga(
    request: Request, service: TheService, appliance_id: ApplianceId,
    part: Literal["", "fpga"] = "", seen: Seen = "",
) -> Response:  # fmt: skip
    """Identity, registers, error records."""
    appliance = service.views.appliance(appliance_id)
    told = _members(appliance.fpga)
    identity = _members(told.get("identity"))
    made = Part(
        request, "fpga", base(appliance_id) + "/fpga", "fpga_part.html", 2, appliance=appliance,
        there=appliance.fpga is not None, told=told, identity=identity,
        built=_members(identity.get("built")), counters=_members(told.get("counters")),
        counts=_members(told.get("error_counters")), use=_members(told.get("use")),
        record=_members(told.get("record")), registers=_registers(told.get("registers")),
        errors=_rows(told.get("errors")),
    )  # fmt: skip
    if part:
        return made.answer(request)
    return page(request, "fpga.html", appliance=appliance, tab="fpga", fpga=made)


def _rows(given: Any) -> list[Mapping[str, Any]] | None:
    """None: they were not told."""
    if not isinstance(given, list):
        return None
    return [one for one in given if isinstance(one, Mapping)]


def _word(given: Any, digits: int) -> str:
    """A number as it is written of registers."""
    return f"0x{given:0{digits}x}" if isinstance(given, int) and given >= 0 else str(given)


def _registers(given: Any) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    """(name, address, word, fields)."""
    return [
        (
            str(name), _word(one.get("address"), 3), _word(one.get("value"), 8),
            [(str(field), str(value)) for field, value in _members(one.get("fields")).items()],
        )
        for name, told in _members(given).items()
        if (one := _members(told))
    ]  # fmt: skip
