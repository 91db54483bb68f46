"""One manager, many appliances: each reports every second through the real protocol and mutual TLS.

    python benches/manager_load.py --appliances 1000 --seconds 30
    python benches/manager_load.py --appliances 100 --seconds 60 --kills 10     # kill -9 under load
    python benches/manager_load.py --database postgresql+psycopg://…            # an empty one

Counts what was acknowledged and what is stored, and times pages meanwhile. Exit status 1 when a
report or transition is lost or stored twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from sqlalchemy import func, select

from nsdata.appliance.agent.membership import Membership, make_request
from nsdata.appliance.protocol import REPORTS_PATH, EnrolRequest
from nsdata.manager.audit import Role, console
from nsdata.manager.service import Service
from nsdata.manager.settings import ManagerSettings
from nsdata.manager.tables import Appliance, HistoryRow

ROOT = Path(__file__).parents[1]
TRANSITION_EVERY = 5  # reports
WARM_S = 8.0  # all connect at once: not timed, but counted
ZERO = {"packets": 0, "bytes": 0}


def report(sequence: int, name: str) -> dict[str, Any]:
    """As large as a real one of an appliance with four workers."""
    count = {"packets": 5000 * sequence, "bytes": 3_000_000 * sequence}
    process = {
        "phase": "running",
        "attempt": 1,
        "pid": 4711,
        "beats": sequence,
        "rss_bytes": 1 << 27,
    }
    names = ("port", "writer", "worker-0", "worker-1", "worker-2", "worker-3")
    sensor = {"sensor": "cpu 0", "resource": "cpu", "level": "green", "value": 41.0, "unit": "%"}
    return {
        "sequence": sequence, "at_ns": time.time_ns(), "name": name, "version": "0.1.0",
        "started_ns": 1, "state": "normal", "reason": "no error", "severity": "Info",
        "cause": "Normal: inspecting.", "resolution": "Normal: nothing to do.",
        "ledger": {"received": count, "inspected": count, "bypassed": ZERO, "blocked": ZERO,
                   "lost": ZERO, "by_why": {f"reason {n}": ZERO for n in range(12)}},
        "drop_ratio": 0.01, "drop_threshold": 0.9,
        "health": {"score": 97.5, "level": "green", "sensors": [sensor] * 8},
        "processes": dict.fromkeys(names, process),
    }  # fmt: skip


class One:
    """A simulated appliance."""

    def __init__(self, number: int, member: Membership) -> None:
        self.name = f"sim-{number}"
        self.member = member
        self.boot = str(uuid4())
        self.sequence = self.row = 0
        self.acked = 0
        self.rows_acked = 0
        self.waits: list[float] = []
        self.retries = 0

    async def run(self, url: str, end: float) -> None:
        """Until `end` (monotonic), and until all it said is acknowledged."""
        context = await asyncio.to_thread(self.member.context)
        where = urlsplit(url)
        link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        warm = time.monotonic() + WARM_S
        await asyncio.sleep(random.random())
        due = time.monotonic()
        while time.monotonic() < end:
            self.sequence += 1
            history = []
            if self.sequence % TRANSITION_EVERY == 0:
                self.row += 1
                told = {"from": "normal", "to": "normal", "outcome": "noted", "reason": "unknown"}
                history = [{"kind": "transition", "row": self.row, "at_ns": self.row, "told": told}]
            batch = {"boot": self.boot, "reports": [report(self.sequence, self.name)],
                     "history": history}  # fmt: skip
            body = json.dumps(batch).encode()
            begun = time.monotonic()
            while True:
                try:
                    if link is None:
                        link = await asyncio.open_connection(
                            where.hostname, where.port, ssl=context, server_hostname="localhost"
                        )
                    answer = await asyncio.wait_for(exchange(*link, body), 30)
                    break
                except (OSError, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError):
                    self.retries += 1
                    if link is not None:
                        link[1].close()
                    link = None
                    await asyncio.sleep(random.uniform(0.1, 0.5))
            if begun > warm:
                self.waits.append(time.monotonic() - begun)
            self.acked = json.loads(answer)["acked"]
            self.rows_acked = self.row
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


class Load:
    """One run."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        self.directory = directory
        self.config = directory / "manager.toml"
        database = f'database = "{options.database}"\n' if options.database else ""
        self.config.write_text(
            f'directory = "manager"\nlisten = "127.0.0.1:{options.port}"\n'
            f'agents = "127.0.0.1:{options.port + 1}"\n{database}'
        )
        self.service = Service(ManagerSettings.load(self.config))
        self.agents_url = f"https://localhost:{options.port + 1}"
        self.url = f"https://localhost:{options.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.pages: list[float] = []
        self.errors = 0

    def start(self) -> None:
        """The manager, as its own process."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nsdata", "manager", "run", "--config", str(self.config)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def enrol(self, number: int) -> One:
        """An appliance, with its files."""
        home = self.directory / f"sim-{number}" / "manager"
        home.mkdir(parents=True)
        _, token = self.service.enrolments.add_token(console(), "", 1)
        key, csr = make_request("x")
        made = self.service.enrolments.enrol(
            EnrolRequest(token=token, name=f"sim-{number}", csr=csr), "bench"
        )
        member = Membership(home, str(made.id), self.agents_url)
        member.ca.write_text(made.ca)
        member.renew(made.certificate, key)
        return One(number, member)

    async def look(self, ids: list[str], end: float) -> None:
        """Ask for pages as people do."""
        token = self.service.accounts.add_token(console(), "bench", Role.VIEWER, 1)[1]
        context = ssl.create_default_context(cafile=str(self.service.authority.certificate_file))
        where = urlsplit(self.url)
        link = None
        warm = time.monotonic() + WARM_S
        while time.monotonic() < end:
            one = random.choice(ids)
            for path in ("/api/v1/appliances?sort=-drop_ratio", f"/api/v1/appliances/{one}",
                         f"/api/v1/appliances/{one}/samples"):  # fmt: skip
                begun = time.monotonic()
                try:
                    if link is None:
                        link = await asyncio.open_connection(
                            where.hostname, where.port, ssl=context, server_hostname="localhost"
                        )
                    reader, writer = link
                    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n"
                                 f"Authorization: Bearer {token}\r\n\r\n".encode())  # fmt: skip
                    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                    length = int(head.partition("content-length:")[2].split("\r\n")[0])
                    await reader.readexactly(length)
                    if not head.startswith("http/1.1 200"):
                        raise OSError(head)
                    if begun > warm:
                        self.pages.append(time.monotonic() - begun)
                except (OSError, asyncio.IncompleteReadError, ssl.SSLError):
                    self.errors += 1
                    link = None
                await asyncio.sleep(0.1)

    async def kill(self, end: float) -> None:
        """kill -9, and start again, so many times."""
        every = (end - time.monotonic()) / (self.options.kills + 1)
        for _ in range(self.options.kills):
            await asyncio.sleep(every * random.uniform(0.8, 1.2))
            assert self.process is not None
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.start()

    async def run(self) -> int:
        """Measure; the exit status."""
        many = [self.enrol(n) for n in range(self.options.appliances)]
        self.start()
        await asyncio.sleep(5)
        end = time.monotonic() + self.options.seconds
        looking = asyncio.create_task(self.look([one.member.id for one in many], end))
        killing = asyncio.create_task(self.kill(end))
        await asyncio.gather(*(one.run(self.agents_url, end) for one in many))
        await looking
        await killing
        assert self.process is not None
        cpu = _cpu(self.process.pid)
        self.process.terminate()
        self.process.wait()
        return self.tell(many, cpu)

    def tell(self, many: list[One], cpu: float) -> int:
        """What came of it."""
        with self.service.database.reading() as session:
            stored = int(session.scalar(select(func.sum(Appliance.reports))) or 0)
            rows = session.scalar(select(func.count()).select_from(HistoryRow)) or 0
        said, said_rows = sum(one.acked for one in many), sum(one.rows_acked for one in many)
        waits = sorted(wait for one in many for wait in one.waits)
        pages = sorted(self.pages)
        told = {
            "database": "sqlite" if self.service.database.sqlite else "postgresql",
            "appliances": len(many), "seconds": self.options.seconds, "kills": self.options.kills,
            "reports_acknowledged": said, "reports_stored": stored,
            "reports_per_second": round(said / self.options.seconds, 1),
            "transitions_acknowledged": said_rows, "transitions_stored": rows,
            "retries": sum(one.retries for one in many),
            "ack_ms": _shares(waits), "page_ms": _shares(pages), "pages": len(pages),
            "page_errors": self.errors, "manager_cpu_s": round(cpu, 1),
        }  # fmt: skip
        print(json.dumps(told, indent=1))
        return int((said, said_rows) != (stored, rows))


def _shares(values: list[float]) -> dict[str, float]:
    return {name: round(1000 * values[min(len(values) - 1, int(len(values) * share))], 1)
            for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)) if values}  # fmt: skip


def _cpu(pid: int) -> float:
    text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--appliances", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--database", default="")
    parser.add_argument("--port", type=int, default=18443)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="nsdata-load-") as directory:
        return asyncio.run(Load(options, Path(directory)).run())


if __name__ == "__main__":
    sys.exit(main())
