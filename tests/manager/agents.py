"""A simulated appliance, for tests: enrols and reports through the real protocol and real TLS."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from site_ import Site

from nsdata.appliance.agent.membership import Membership, enrol
from nsdata.appliance.protocol import REPORTS_PATH, Answer

FATES = ("inspected", "bypassed", "blocked", "lost")


def report(sequence: int, at_ns: int | None = None, packets: int | None = None,
           **more: Any) -> dict[str, Any]:  # fmt: skip
    """A report as an agent sends it: `packets` received, all inspected."""
    packets = 1000 * sequence if packets is None else packets
    counts = {"packets": packets, "bytes": 100 * packets}
    none = {"packets": 0, "bytes": 0}
    ledger = {"received": counts, **{name: none for name in FATES}, "inspected": counts}
    return {
        "sequence": sequence,
        "at_ns": time.time_ns() if at_ns is None else at_ns,
        "name": "simulated",
        "version": "0.1.0",
        "started_ns": 1,
        "state": "normal",
        "reason": "no error",
        "severity": "Info",
        "cause": "Normal: inspecting.",
        "resolution": "Normal: nothing to do.",
        "ledger": ledger,
        "drop_ratio": 0.0,
        "drop_threshold": 0.9,
        "health": {"score": 100.0, "level": "green"},
        **more,
    }


def transition(row: int, reason: str = "process error", **more: Any) -> dict[str, Any]:
    """A row of history."""
    told = {"from": "normal", "to": "fallback", "outcome": "entered", "reason": reason,
            "evidence": {"row": row}}  # fmt: skip
    return {"kind": "transition", "row": row, "at_ns": 10**18 + row, "told": told, **more}


class Simulated:
    """An appliance of a site; nothing but its agent's part of the protocol."""

    def __init__(self, site: Site, directory: Path, name: str = "simulated") -> None:
        self.member: Membership = enrol(directory, name, site.url, site.enrolment_token())
        self.boot = str(uuid4())
        self.sequence = 0
        self.client = self.connect(self.member.context())

    @property
    def id(self) -> str:
        return self.member.id

    def connect(self, context: ssl.SSLContext) -> httpx.Client:
        return httpx.Client(base_url=self.member.agents_url, verify=context, trust_env=False,
                            timeout=30)  # fmt: skip

    def post(self, reports: list[dict[str, Any]] | None = None, **more: Any) -> httpx.Response:
        batch = {"boot": self.boot, "reports": reports or [], **more}
        return self.client.post(REPORTS_PATH, json=batch)

    def say(self, **more: Any) -> Answer:
        """One report more; the answer."""
        self.sequence += 1
        answer = self.post([report(self.sequence, **more.pop("report", {}))], **more)
        assert answer.status_code == 200, answer.text
        return Answer.model_validate_json(answer.content)

    def result(self, command: str, outcome: str = "done", **more: Any) -> dict[str, Any]:
        return {"id": command, "outcome": outcome, "at_ns": time.time_ns(), **more}
