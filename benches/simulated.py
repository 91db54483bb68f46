"""Simulated appliances, for `manager_load.py`: as much of an agent as the manager sees."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from nsdata.appliance.agent.membership import Membership
from nsdata.appliance.protocol import REPORTS_PATH

TRANSITION_EVERY = 5  # reports
FAILS_EVERY = 7  # commands
ZERO = {"packets": 0, "bytes": 0}


def report_text(name: str) -> str:
    """As large as a real one of an appliance with four workers, with places for % to fill: it
    is made once, so that the appliances leave the machine to the manager."""
    process = {"phase": "running", "attempt": 1, "pid": 4711, "beats": 17, "rss_bytes": 1 << 27}
    names = ("port", "writer", "worker-0", "worker-1", "worker-2", "worker-3")
    sensor = {"sensor": "cpu 0", "resource": "cpu", "level": "green", "value": 41.0, "unit": "%"}
    places = {"packets": "PACKETS", "bytes": "BYTES"}
    made = json.dumps({
        "sequence": "SEQUENCE", "at_ns": "AT", "name": name, "version": "0.1.0",
        "started_ns": 1, "state": "normal", "reason": "no error", "severity": "Info",
        "cause": "Normal: inspecting.", "resolution": "Normal: nothing to do.",
        "ledger": {"received": places, "inspected": places, "bypassed": ZERO, "blocked": ZERO,
                   "lost": ZERO, "by_why": {f"reason {n}": ZERO for n in range(12)}},
        "drop_ratio": 0.01, "drop_threshold": 0.9,
        "health": {"score": 97.5, "level": "green", "sensors": [sensor] * 8},
        "processes": dict.fromkeys(names, process),
    })  # fmt: skip
    text = made.replace("%", "%%")
    for place in ("SEQUENCE", "AT", "PACKETS", "BYTES"):
        text = text.replace(f'"{place}"', f"%({place})d")
    return text


class One:
    """A simulated appliance."""

    def __init__(self, number: int, member: Membership) -> None:
        self.name = f"sim-{number}"
        self.member = member
        self.context = member.context()
        self.boot = str(uuid4())
        self.text = report_text(self.name)
        self.sequence = self.row = 0
        self.acked = self.rows_acked = 0
        self.waits: list[tuple[float, float]] = []  # begun, lasted
        self.first = 0.0  # acknowledgement
        self.retries = 0
        self.begun: dict[str, int] = {}  # commands: how often
        self.results: dict[str, dict[str, Any]] = {}  # not acknowledged

    def body(self) -> bytes:
        """The next batch."""
        self.sequence += 1
        history = []
        if self.sequence % TRANSITION_EVERY == 0:
            self.row += 1
            told = {"from": "normal", "to": "normal", "outcome": "noted", "reason": "unknown"}
            history = [{"kind": "transition", "row": self.row, "at_ns": self.row, "told": told}]
        filled = self.text % {
            "SEQUENCE": self.sequence, "AT": time.time_ns(),
            "PACKETS": 5000 * self.sequence, "BYTES": 3_000_000 * self.sequence,
        }  # fmt: skip
        return (
            f'{{"boot": "{self.boot}", "reports": [{filled}], "history": {json.dumps(history)}, '
            f'"results": {json.dumps(list(self.results.values()))}}}'
        ).encode()

    def take(self, answer: bytes) -> None:
        """All of the batch is stored; a result that is acknowledged is remembered no more, so a
        command that came again would be carried out again."""
        told = json.loads(answer)
        self.acked, self.rows_acked = told["acked"], self.row
        self.results.clear()
        for command in told["commands"]:
            one = command["id"]
            self.begun[one] = self.begun.get(one, 0) + 1
            fails = UUID(one).int % FAILS_EVERY == 0
            self.results[one] = {"id": one, "outcome": "failed" if fails else "done",
                                 "at_ns": time.time_ns(), "error": "simulated" * fails}  # fmt: skip

    async def run(self, url: str, go_on: asyncio.Event) -> None:
        """Until there is to be an end, and all it said is acknowledged."""
        where = urlsplit(url)
        link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        await asyncio.sleep(random.random())
        due = time.monotonic()
        while go_on.is_set() or self.results:
            body, begun = self.body(), time.monotonic()
            while True:
                try:
                    if link is None:
                        link = await asyncio.open_connection(
                            where.hostname, where.port, ssl=self.context,
                            server_hostname="localhost",
                        )  # fmt: skip
                    answer = await asyncio.wait_for(exchange(*link, body), 30)
                    break
                except (OSError, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError):
                    self.retries += 1
                    if link is not None:
                        link[1].close()
                    link = None
                    await asyncio.sleep(random.uniform(0.1, 0.5))
            now = time.monotonic()
            self.waits.append((begun, now - begun))
            self.first = self.first or now
            self.take(answer)
            due += 1.0
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        if link is not None:
            link[1].close()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
) -> bytes:
    """One request over a connection that is kept. OSError when the answer is not 200."""
    writer.write(
        f"POST {REPORTS_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(int(line.partition(":")[2]) for line in head.split("\r\n")
                  if line.lower().startswith("content-length:"))  # fmt: skip
    answer = await reader.readexactly(length)
    if not head.startswith("HTTP/1.1 200"):
        raise OSError(head.splitlines()[0] + answer.decode())
    return answer
