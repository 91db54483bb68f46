"""Show what an EVE file of the demo says: `show.py alerts FILE` or `show.py fallback FILE`."""

import collections
import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any


def events(path: Path, *types: str) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            if event["event_type"] in types:
                yield event


def alerts(path: Path) -> None:
    """Each rule that fired: how often, what was done, its message."""
    seen: collections.Counter[tuple[int, str, str]] = collections.Counter()
    for event in events(path, "alert"):
        alert = event["alert"]
        seen[alert["signature_id"], alert["action"], alert["signature"]] += 1
    for (sid, action, message), count in sorted(seen.items()):
        print(f"  {count:4} x  {sid}  {action:8} {message}")


def evidence(given: dict[str, Any]) -> Iterator[str]:
    """The window and the load that decided, in a few lines; keys as in docs/operations.md."""
    counters = given.get("counters", {})
    if "ratio" in given and counters.get("dropped"):
        yield (
            f"dropped {counters['dropped']} of {counters['received']} packets = "
            f"{given['ratio']:.1%}, threshold {given.get('threshold', 0):.0%}; "
            f"cause: {given.get('attribution')}"
        )
        yield f"offered {given['offered_pps']:.0f} packets/s, served {given['served_pps']:.0f}"
    if highest := given.get("near_misses", {}).get("highest_ratio"):
        yield f"the highest before it was {highest:.1%}"
    if recheck := given.get("recheck"):
        yield (
            f"re-checked: {recheck.get('why')} "
            f"({recheck['offered_pps']:.0f} and {recheck['capacity_pps']:.0f} packets/s)"
        )
    if permitted := given.get("permitted_uninspected"):
        yield f"permitted uninspected so far: {permitted['packets']} packets"


def fallback(path: Path) -> None:
    """Each transition, its time in the capture, and the evidence it carries."""
    start: datetime | None = None
    for event in events(path, "alert", "drop", "flow", "stats", "ledger", "fallback"):
        now = datetime.fromisoformat(event.get("flow", {}).get("start") or event["timestamp"])
        start = min(start or now, now)
    for event in events(path, "fallback"):
        said = event["fallback"]
        now = datetime.fromisoformat(event["timestamp"])
        after = (now - (start or now)).total_seconds()
        print(
            f"  {after:5.1f} s  packet {event.get('pcap_cnt', '?'):>5}  "
            f"{said.get('outcome', ''):9} {said.get('from', '')} -> {said.get('state', '')}: "
            f"{said.get('reason', '')} ({said.get('input', said.get('trigger', ''))})"
        )
        for line in evidence(said.get("evidence", {})):
            print(f"           {line}")


def main() -> int:
    views = {"alerts": alerts, "fallback": fallback}
    if len(sys.argv) != 3 or sys.argv[1] not in views:
        print(__doc__, file=sys.stderr)
        return 2
    views[sys.argv[1]](Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
