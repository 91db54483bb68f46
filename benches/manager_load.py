"""One manager, many appliances: each reports every second through the real protocol and mutual TLS.

    python benches/manager_load.py                                  # 1,000 appliances, SQLite
    python benches/manager_load.py --postgres                       # on a server of its own
    python benches/manager_load.py --appliances 40 --kills 50 --commands 2

Counts what was acknowledged and what is stored, and what was asked and carried out. A process of
its own asks for pages and the API meanwhile, one after another. Two phases are told apart: `cold`
until all appliances have connected (all at once), `steady` after that. Exit status 1: a report or
transition is lost or stored twice, a command is lost or carried out twice (one that its opposite
replaced before it was sent: at all); without kills also: a page failed, fewer reports came than one
a second, or a p99 of pages in the steady state is not below the bar.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

from simulated import One
from sqlalchemy import func, select

from nsdata.appliance.agent.membership import Membership, make_request
from nsdata.appliance.protocol import EnrolRequest
from nsdata.manager.audit import Role, console
from nsdata.manager.commands import REPLACE, VOID
from nsdata.manager.service import Service
from nsdata.manager.settings import ManagerSettings
from nsdata.manager.tables import Appliance, CommandRow, HistoryRow

ROOT = Path(__file__).parents[1]
INTAKE_EVERY = 5  # kills
SETTLE_S = 3.0  # after the last has connected
SETTLED_S = 60.0  # for what is asked to be carried out, after the end
LOOK_S = 0.05  # between two pages
PASSWORD = "correct horse battery staple"
VIEWS = {
    "/appliances": "/appliances",
    "/appliances/ID": "/appliances/{id}",
    "/appliances/ID/traffic": "/appliances/{id}/traffic",
    "/api/v1/appliances": "/api/v1/appliances?sort=-drop_ratio",
    "/api/v1/appliances/ID": "/api/v1/appliances/{id}",
    "/api/v1/appliances/ID/samples": "/api/v1/appliances/{id}/samples",
}


class Link:
    """A connection to people's listener that is kept."""

    def __init__(self, port: int, ca: str, **headers: str) -> None:
        context = ssl.create_default_context(cafile=ca)
        self.headers = headers
        self.client = http.client.HTTPSConnection("localhost", port, context=context, timeout=30)

    def ask(self, method: str, path: str, body: str = "", **more: str) -> int:
        """The status; raises OSError, http.client.HTTPException."""
        try:
            self.client.request(method, path, body or None, {**self.headers, **more})
            answer = self.client.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.client.close()
            raise
        return answer.status


def look(plan: dict[str, Any]) -> None:
    """Ask for pages as somebody does, until stdin ends; prints when each was begun and what it
    took, as JSON."""
    link = Link(plan["port"], plan["ca"], Cookie=f"__Host-nsdata={plan['cookie']}")
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in VIEWS}
    errors: list[str] = []
    over = threading.Event()

    def until_end() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=until_end, daemon=True).start()
    while not over.is_set():
        for name, path in VIEWS.items():
            begun = time.monotonic()
            try:
                status = link.ask("GET", path.format(id=random.choice(plan["ids"])))
                if status != 200:
                    errors.append(f"{name}: {status}")
                else:
                    found[name].append((begun, time.monotonic() - begun))
            except (OSError, http.client.HTTPException) as error:
                errors.append(f"{name}: {error!r}")
            over.wait(LOOK_S)
    print(json.dumps({"found": found, "errors": errors, "cpu_s": _own_cpu()}))


class Load:
    """One run."""

    def __init__(self, options: argparse.Namespace, directory: Path, database: str) -> None:
        self.options = options
        self.directory = directory
        self.config = directory / "manager.toml"
        named = f'database = "{database}"\n' if database else ""
        self.config.write_text(
            f'directory = "manager"\nlisten = "127.0.0.1:{options.port}"\n'
            f'agents = "127.0.0.1:{options.port + 1}"\n{named}'
        )
        self.service = Service(ManagerSettings.load(self.config))
        self.ca = str(self.service.authority.certificate_file)
        self.agents_url = f"https://localhost:{options.port + 1}"
        self.process: subprocess.Popen[bytes] | None = None
        self.cpu = {"people_s": 0.0, "intake_s": 0.0}
        self.asked: list[str] = []
        self.intake_kills = 0

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

    def looking(self, many: list[One]) -> subprocess.Popen[str]:
        """Somebody who has signed in, in a process of their own."""
        _, token = self.service.accounts.add_user(console(), "bench", Role.VIEWER)
        self.service.accounts.set_password(token, PASSWORD, "bench")
        cookie = self.service.accounts.sign_in("bench", PASSWORD, "bench").cookie
        plan = {"port": self.options.port, "ca": self.ca, "ids": [one.member.id for one in many],
                "cookie": cookie}  # fmt: skip
        made = subprocess.Popen(
            [sys.executable, __file__, "--look"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert made.stdin is not None
        made.stdin.write(json.dumps(plan) + "\n")
        made.stdin.flush()
        return made

    def command(self, ids: list[str], over: threading.Event) -> None:
        """Ask for commands, each until it is accepted, with the same key."""
        token = self.service.accounts.add_token(console(), "bench", Role.OPERATOR, 1)[1]
        link = Link(self.options.port, self.ca, Authorization=f"Bearer {token}")
        while self.options.commands and not over.is_set():
            key, one = str(uuid4()), random.choice(ids)
            wanted = json.dumps({"state": random.choice(["bypass", "inspect"]), "note": key})
            while True:
                try:
                    status = link.ask("PUT", f"/api/v1/appliances/{one}/inspection", wanted,
                                      **{"Idempotency-Key": key,
                                         "Content-Type": "application/json"})  # fmt: skip
                except (OSError, http.client.HTTPException):
                    time.sleep(0.1)
                    continue
                if status == 202:
                    break
                assert status == 503, status
                time.sleep(0.1)
            self.asked.append(key)
            time.sleep(random.expovariate(self.options.commands))

    async def kill(self, many: list[One]) -> None:
        """kill -9 of the manager, so many times; now and then first of its process of reports
        alone. Each time only once reports have been taken again, so that it is under load."""
        for number in range(self.options.kills):
            assert self.process is not None
            await self._taken(many)
            if number % INTAKE_EVERY == 0:
                for one in _children(self.process.pid):
                    os.kill(one, signal.SIGKILL)
                    self.intake_kills += 1
                await self._taken(many)
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.start()
        await self._taken(many)

    async def _taken(self, many: list[One]) -> None:
        """Until reports that were begun from now on are acknowledged, and a little longer."""
        now = time.monotonic()
        while not any(one.waits and one.waits[-1][0] > now for one in many):
            await asyncio.sleep(0.05)
        await asyncio.sleep(random.uniform(0.1, 2.0))

    async def run(self) -> int:
        """Measure; the exit status."""
        many = [self.enrol(n) for n in range(self.options.appliances)]
        before, load = _own_cpu(), os.getloadavg()[0]
        self.start()
        await asyncio.to_thread(self._reachable)
        viewer = self.looking(many)
        begun = time.monotonic()
        end = begun + self.options.seconds
        go_on = asyncio.Event()
        go_on.set()
        running = [asyncio.create_task(one.run(self.agents_url, go_on)) for one in many]
        over = threading.Event()
        ids = [one.member.id for one in many]
        asking = asyncio.create_task(asyncio.to_thread(self.command, ids, over))
        await self.kill(many)
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        over.set()
        await asking
        await asyncio.to_thread(self._settled)
        end = time.monotonic()
        go_on.clear()
        await asyncio.gather(*running)
        seen = json.loads((await asyncio.to_thread(viewer.communicate))[0])
        assert self.process is not None
        self.cpu = {"people_s": _cpu(self.process.pid),
                    "intake_s": sum(map(_cpu, _children(self.process.pid))),
                    "appliances_s": _own_cpu() - before, "viewer_s": seen["cpu_s"]}  # fmt: skip
        self.process.terminate()
        self.process.wait()
        return self.tell(many, seen, begun, end, (load, os.getloadavg()[0]))

    def _reachable(self) -> None:
        link = Link(self.options.port, self.ca)
        while True:
            try:
                link.ask("GET", "/login")
                return
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)

    def _commands(self) -> tuple[dict[str, str], set[str]]:
        """States by identity; those that their opposite replaced before they were sent."""
        with self.service.database.reading() as session:
            rows = session.execute(select(CommandRow.id, CommandRow.state, CommandRow.told)).all()
        replaced = {row.id for row in rows if json.loads(row.told).get(VOID) == REPLACE}
        return {row.id: row.state for row in rows}, replaced

    def _settled(self) -> None:
        """Until nothing that was asked is open; not for ever."""
        end = time.monotonic() + SETTLED_S
        while time.monotonic() < end:
            if {"queued", "sent", "running"}.isdisjoint(self._commands()[0].values()):
                return
            time.sleep(0.5)

    def tell(self, many: list[One], seen: dict[str, Any], begun: float, end: float,
             load: tuple[float, float]) -> int:  # fmt: skip
        """What came of it."""
        with self.service.database.reading() as session:
            stored = int(session.scalar(select(func.sum(Appliance.reports))) or 0)
            rows = session.scalar(select(func.count()).select_from(HistoryRow)) or 0
        states, replaced = self._commands()
        carried = {one: times for each in many for one, times in each.begun.items()}
        said, said_rows = sum(one.acked for one in many), sum(one.rows_acked for one in many)
        warm = max(one.first for one in many) + SETTLE_S
        waits = [wait for one in many for wait in one.waits]
        came = sum(at >= warm for at, _ in waits) / max(1e-9, (end - warm) * len(many))
        pages = {name: {phase: _shares([took for at, took in found if (at >= warm) == steady])
                        for phase, steady in (("cold", False), ("steady", True))}
                 for name, found in seen["found"].items()}  # fmt: skip
        told = {
            "database": "sqlite" if self.service.database.sqlite else "postgresql",
            "appliances": len(many), "seconds": self.options.seconds, "kills": self.options.kills,
            "kills_of_intake": self.intake_kills, "load_average": [round(one, 1) for one in load],
            "lasted_s": round(end - begun, 1),
            "connected_after_s": round(warm - SETTLE_S - begun, 1),
            "reports_made": sum(one.sequence for one in many),
            "reports_acknowledged": said, "reports_stored": stored,
            "reports_per_appliance_and_second": round(came, 3),
            "transitions_acknowledged": said_rows, "transitions_stored": rows,
            "retries": sum(one.retries for one in many),
            "commands_asked": len(self.asked), "commands_carried_out": len(carried),
            "commands_replaced": len(replaced),
            "commands_done": sum(state == "done" for state in states.values()),
            "commands_failed": sum(state == "failed" for state in states.values()),
            "commands_twice": sum(times > 1 for times in carried.values()),
            "ack_ms": {"cold": _shares([took for at, took in waits if at < warm]),
                       "steady": _shares([took for at, took in waits if at >= warm])},
            "pages_ms": pages, "page_errors": len(seen["errors"]),
            "cpu": {name: round(value, 1) for name, value in self.cpu.items()},
        }  # fmt: skip
        wrong = []
        if (said, said_rows) != (stored, rows) or said != told["reports_made"]:
            wrong.append("reports or transitions were lost, or stored twice")
        if set(self.asked) != set(states) or set(carried) | replaced != set(states):
            wrong.append("commands were lost, or made of nothing")
        if replaced & set(carried):
            wrong.append("commands were carried out that had been replaced")
        if told["commands_twice"]:
            wrong.append("commands were carried out twice")
        if told["commands_done"] + told["commands_failed"] != len(self.asked):
            wrong.append("commands have no end")
        if not self.options.kills and self.options.bar:
            slow = [name for name, of in pages.items()
                    if not of["steady"].get("p99", 1e9) < self.options.bar]  # fmt: skip
            wrong += [f"{name}: p99 is not below {self.options.bar} ms" for name in slow]
            wrong += [f"{len(seen['errors'])} pages failed: {seen['errors'][:3]}"] * bool(
                seen["errors"]
            )
            wrong += ["fewer reports than one a second"] * (came < 0.98)
        print(json.dumps(told | {"wrong": wrong}, indent=1))
        return int(bool(wrong))


def _shares(values: list[float]) -> dict[str, float]:
    values.sort()
    found = {name: round(1000 * values[min(len(values) - 1, int(len(values) * share))], 1)
             for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)) if values}  # fmt: skip
    return {"n": len(values), **found}


def _cpu(pid: int) -> float:
    text = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(text[11]) + int(text[12])) / os.sysconf("SC_CLK_TCK")


def _own_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("--appliances", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--commands", type=float, default=0, help="a second")
    parser.add_argument("--bar", type=float, default=300, help="p99 of pages in ms; 0: none")
    parser.add_argument("--database", default="", help="URL of an empty one")
    parser.add_argument("--postgres", action="store_true", help="on a server started for it")
    parser.add_argument("--port", type=int, default=18443)
    parser.add_argument("--look", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look:
        look(json.loads(sys.stdin.readline()))
        return 0
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        database = options.database
        if options.postgres:
            sys.path.insert(0, str(ROOT / "tests" / "manager"))
            database = stack.enter_context(import_module("postgres").server())
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="nsdata-load-"))
        return asyncio.run(Load(options, Path(directory), database).run())


if __name__ == "__main__":
    sys.exit(main())
