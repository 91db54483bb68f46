"""Protections before fallback, in virtual time: carried out, and alike every time."""

import pytest
from scenes import QUICK, ran, scene

from nsdata.errors import SettingError
from nsdata.scenario.run import Result

FAST = QUICK + '"protection.window" = "500ms"\n"protection.suppression" = "1s"\n'
FLOOD = '[[action]]\nat = "1s"\ndo = "burst"\nrate = "10kpps"\nfor = "1s"\n'
BUSY = 'capacity = "2kpps"'


def kinds(result: Result) -> list[str]:
    return [one.kind for one in result.record.events]


def test_alerts_are_suspended_while_packets_are_lost_and_counted() -> None:
    plain = ran(FLOOD, box=BUSY, settings=QUICK + '"protection.suppression" = 0\n')
    found = ran(FLOOD, box=BUSY, settings=FAST)
    assert "alerts suspended" not in kinds(plain) and plain.record.entries == []
    again = next(one for one in found.record.events if one.kind == "alerts written again")
    left_out = again.evidence["suppressed_alerts"]
    assert left_out > 0
    assert found.record.alerts[1] + left_out == plain.record.alerts[1]
    assert found.record.ledger == plain.record.ledger


def test_a_rule_that_costs_most_is_disabled_by_its_share_of_packets() -> None:
    auto = FAST + '"protection.adaptive.mode" = "auto"\n'
    found = ran(FLOOD, box=BUSY, settings=auto)
    told = next(one for one in found.record.events if one.kind == "rule disabled")
    assert told.evidence["by"] == "packets checked"  # nanoseconds are of the wall clock
    assert ran(FLOOD, box=BUSY, settings=auto).record.eve == found.record.eve


def test_a_budget_of_exposure_turns_permit_into_block() -> None:
    budget = QUICK + '"exposure.max-time.default" = "1s"\n'
    found = ran('[[action]]\nat = "1s"\ndo = "fallback"\n', settings=budget, duration="4s")
    assert found.record.ledger.blocked.packets == 2000
    assert found.record.ledger.bypassed.packets + found.record.ledger.blocked.packets == 3000


def test_a_segment_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingError, match=r"scene.toml:[0-9]+: exposure.*guests"):
        scene(settings='[settings]\n"exposure.action.guests" = "block"\n')
