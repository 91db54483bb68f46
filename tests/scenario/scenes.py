"""What tests of scenarios share: one that is sound, to be added to."""

from __future__ import annotations

from pathlib import Path

from nsdata.scenario.run import Result, run
from nsdata.scenario.scenario import Scenario, parse

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "examples" / "scenarios").glob("*.toml"))
QUICK = """
[settings]
"watch.heartbeat-clear" = "1s"
"watch.stable" = "1s"
"watch.memory-clear" = "1s"
"watch.unknown-clear" = "1s"
"health.interval" = "200ms"
"health.deadline" = "200ms"
"health.stale-after" = "1s"
"health.required" = []
"health.clear-after" = "1s"
"""
ATTACK = """rule_text = 'alert udp any any -> any any (msg:"attack"; content:"ATTACK"; sid:1;)'"""
SCENE = """
duration = "{duration}"
{top}
[traffic]
generate = {{ flows = 20, attack_every = 50 }}
rate = "{rate}"
[appliance]
{box}
{settings}
{entries}
"""


def scene(
    entries: str = "", *, duration: str = "6s", rate: str = "1kpps", box: str = "",
    settings: str = QUICK, top: str = ATTACK,
) -> Scenario:  # fmt: skip
    """A scenario of 6 s, 1,000 packets/s, every 50th an attack, with these entries."""
    text = SCENE.format(
        duration=duration, rate=rate, box=box, settings=settings, top=top, entries=entries
    )
    return parse(text, "scene.toml", ROOT)


def ran(entries: str = "", **given: str) -> Result:
    """The same, run in virtual time."""
    return run(scene(entries, **given))


def fell(result: Result) -> list[tuple[str, str]]:
    """(outcome, reason) of each entry on its record."""
    return [(one["outcome"], one["reason"]) for one in result.record.entries]
