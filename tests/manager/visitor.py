"""Who visits the pages in tests: a browser without a screen, a client of forms, prepared agents."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from box import PATIENCE_S
from site_ import Site, wait

from nsdata.appliance.agent.membership import Membership
from nsdata.appliance.protocol import REPORTS_PATH
from nsdata.fallback.reasons import ABOUT, Reason
from nsdata.manager.audit import Role, console

PASSWORD = "correct horse battery staple"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e"
CHROMIUM = shutil.which("chromium")
CSRF = re.compile(r'name="csrf" value="([^"]+)"')


def user(site: Site, role: Role) -> str:
    """A user of this role, with PASSWORD; the name."""
    name = f"{role}-{uuid4().hex[:8]}"
    _, token = site.service.accounts.add_user(console(), name, role)
    site.service.accounts.set_password(token, PASSWORD, "test")
    return name


class Visitor:
    """A browser without script: pages, forms, cookies."""

    def __init__(self, site: Site, role: Role | None) -> None:
        self.name = user(site, role) if role else ""
        self.client = httpx.Client(
            base_url=site.url, verify=site.context(), timeout=PATIENCE_S, trust_env=False
        )
        if role is not None:
            assert self.sign_in(self.name, PASSWORD).status_code == 303

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page."""
        return self.client.get(path, headers=headers)

    def csrf(self, page: str) -> str:
        """The token of the forms of a page."""
        found = CSRF.search(self.get(page).text)
        assert found, page
        return found[1]

    def post(self, path: str, page: str = "/login", **fields: str) -> httpx.Response:
        """A form of a page."""
        return self.client.post(path, data={"csrf": self.csrf(page), **fields})

    def sign_in(self, name: str, password: str) -> httpx.Response:
        """As somebody."""
        return self.post("/login", name=name, password=password)


@contextmanager
def visitor(site: Site, role: Role | None) -> Iterator[Visitor]:
    """One who has signed in (None: has not)."""
    made = Visitor(site, role)
    try:
        yield made
    finally:
        made.client.close()


class Prepared:
    """An appliance of which the test says what it reports, over the real protocol."""

    def __init__(self, site: Site, directory: Path, name: str = "prepared") -> None:
        self.id = site.enrol(directory, name)
        self.name = name
        membership = Membership.load(directory)
        assert membership is not None
        self.client = httpx.Client(
            base_url=membership.agents_url,
            verify=membership.context(),
            timeout=PATIENCE_S,
            trust_env=False,
        )
        self.boot, self.sequence, self.row = str(uuid4()), 0, 0
        self.started_ns = time.time_ns() - 600 * 10**9
        self.packets = 0

    def told(
        self, reason: Reason = Reason.NO_ERROR, state: str = "", **more: Any
    ) -> dict[str, Any]:
        """A report."""
        self.sequence += 1
        self.packets += 1000
        about = ABOUT[reason]
        state = state or ("normal" if reason is Reason.NO_ERROR else "fallback")
        counted = {"packets": self.packets, "bytes": self.packets * 500, "reasons": {}}
        none = {"packets": 0, "bytes": 0, "reasons": {}}
        inspects = state == "normal"
        return {
            "sequence": self.sequence,
            "at_ns": time.time_ns(),
            "name": self.name,
            "version": "0.1.0",
            "started_ns": self.started_ns,
            "state": state,
            "reason": reason.value,
            "severity": about.severity.value,
            "cause": about.cause,
            "resolution": about.resolution,
            "ledger": {
                "received": counted,
                "inspected": counted if inspects else none,
                "bypassed": none if inspects else counted,
                "blocked": none,
                "lost": none,
            },
            "drop_ratio": 0.02,
            "drop_threshold": 0.9,
            "health": {"score": 97, "level": "green"},
            **more,
        }

    def transition(self, reason: Reason, to: str, evidence: dict[str, Any]) -> dict[str, Any]:
        """A row of history."""
        self.row += 1
        about = ABOUT[reason]
        told = {
            "sequence": self.row,
            "from": "normal" if to == "fallback" else "fallback",
            "to": to,
            "outcome": "entered" if to == "fallback" else "restored",
            "input": "told",
            "reason": reason.value,
            "severity": about.severity.value,
            "cause": about.cause,
            "resolution": about.resolution,
            "trigger": "automatic",
            "evidence": evidence,
        }
        return {"kind": "transition", "row": self.row, "at_ns": time.time_ns(), "told": told}

    def event(self, kind: str, evidence: dict[str, Any]) -> dict[str, Any]:
        """Another."""
        self.row += 1
        told = {"event": kind, "subject": "box", "evidence": evidence}
        return {"kind": "event", "row": self.row, "at_ns": time.time_ns(), "told": told}

    def send(self, *reports: dict[str, Any], history: Any = (), results: Any = ()) -> Any:
        """A batch; the answer."""
        batch = {
            "boot": self.boot,
            "reports": list(reports),
            "history": list(history),
            "results": list(results),
        }
        answer = self.client.post(REPORTS_PATH, json=batch)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def result(self, command: dict[str, Any], outcome: str, **more: Any) -> dict[str, Any]:
        """What became of a command."""
        return {"id": command["id"], "outcome": outcome, "at_ns": time.time_ns(), **more}

    def asked(self) -> dict[str, Any]:
        """The command that waits for it."""
        found = wait(lambda: self.send(self.told())["commands"], "a command comes")
        return dict(found[-1])


class Watched:
    """A page of the browser, and what went wrong in it."""

    def __init__(self, page: Any, site: Site) -> None:
        self.page, self.site = page, site
        self.faults: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("request", lambda request: self.hosts.add(request.url))

    def _said(self, message: Any) -> None:
        text = message.text
        # A page that answers 4xx, or none at all, is said to be so: the tests look at those.
        if message.type in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.faults.append(text)

    def go(self, path: str) -> Any:
        """A page of the manager."""
        return self.page.goto(self.site.url + path)

    def sign_in(self, name: str) -> None:
        """By the form."""
        self.go("/login")
        self.page.fill("input[name=name]", name)
        self.page.fill("input[name=password]", PASSWORD)
        self.page.click("text=Sign in >> nth=-1")
        self.page.wait_for_url(self.site.url + "/appliances")

    def fine(self) -> None:
        """Nothing was refused by the policy, nothing failed, nobody else was asked."""
        assert not self.faults
        elsewhere = {one for one in self.hosts if not one.startswith(self.site.url + "/")}
        assert not elsewhere


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a screen; skipped where there is none."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (packages.txt)")
    with sync.sync_playwright() as playwright:
        made = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield made
        finally:
            made.close()


@contextmanager
def window(chromium: Any, site: Site, **more: Any) -> Iterator[Watched]:
    """A browser's window of its own."""
    context = chromium.new_context(ignore_https_errors=True, **more)
    context.set_default_timeout(PATIENCE_S * 1000)
    try:
        yield Watched(context.new_page(), site)
    finally:
        context.close()


def words(text: str) -> str:
    """What is read of a page."""
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def rows(text: str) -> list[str]:
    """The names in the table, in order."""
    return re.findall(r'<a id="a-[^"]+" href="[^"]+">([^<]+)</a>', text)
