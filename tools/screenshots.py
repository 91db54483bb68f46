"""Take the pictures of the manager's pages in docs/img: `python tools/screenshots.py`.

Runs `nsdata manager demo` in a directory that goes away, stops a worker of one appliance as a hang
would, puts another into fallback by hand, has the FPGA block of that one note an error, and takes
each page in Chromium without a screen.
Needs playwright and chromium (packages.txt).
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from nsdata.appliance.control import ask

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "img"
LINK = re.compile(r"(https://\S+)(/password/\S+)")
WIDTH, HEIGHT, PHONE = 1000, 700, 360
CHARTS_S = 45  # of measurements, to be seen in the charts
PATIENCE_S = 90.0
APPLIANCES = 3
TABS = ("traffic", "health", "events")
ADMIN = ("users", "enrolment", "audit")


def wait(true: Callable[[], Any], what: str) -> Any:
    """What `true` gives, once it is true."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.2)
    raise SystemExit(f"never: {what}")


class Pictures:
    """Of one running demo."""

    def __init__(self, page: Page, url: str, directory: Path) -> None:
        self.page, self.url, self.directory = page, url, directory

    def take(self, name: str, path: str | None = None) -> None:
        """A whole page."""
        if path is not None:
            self.page.goto(self.url + path)
            self.page.mouse.move(0, 0)
        self.page.screenshot(path=IMAGES / f"manager-{name}.png", full_page=True)
        print(f"docs/img/manager-{name}.png")

    def appliances(self) -> dict[str, dict[str, Any]]:
        """What the API says of each, by name."""
        found = self.page.request.get(f"{self.url}/api/v1/appliances").json()["items"]
        return {one["name"]: one for one in found}

    def detail(self, number: str) -> dict[str, Any]:
        """What the API says of one."""
        return dict(self.page.request.get(f"{self.url}/api/v1/appliances/{number}").json())

    def all(self, link: str) -> None:
        """Every page."""
        page, password = self.page, secrets.token_urlsafe(16)
        page.goto(self.url + link)
        page.fill("input[name=password]", password)
        page.fill("input[name=again]", password)
        page.click("button.main")
        page.wait_for_url(self.url + "/appliances")
        wait(
            lambda: (
                len(found := self.appliances()) == APPLIANCES
                and all(one["packets_per_second"] for one in found.values())
            ),
            "all report",
        )
        found = {name: one["id"] for name, one in self.appliances().items()}
        time.sleep(CHARTS_S)
        self._by_hand(found["lab"])
        worker = self.detail(found["south"])["processes"]["worker-0"]["pid"]
        os.kill(worker, signal.SIGSTOP)  # its supervisor sees that, and kills it
        wait(lambda: self.detail(found["south"])["state"] == "fallback", "it is in fallback")
        self.take("general", f"/appliances/{found['south']}")
        self.take("appliances", "/appliances")
        time.sleep(5)
        for tab in TABS:
            self.take(tab, f"/appliances/{found['south']}/{tab}")
        ask(self.directory / "lab" / "run", {"command": "inject", "error": "SEU"})
        page.goto(f"{self.url}/appliances/{found['lab']}/fpga")
        page.wait_for_selector("#errors >> text=SEU")
        page.wait_for_selector("text=✓ working")  # it was brought back
        self.take("fpga")
        for name in ADMIN:
            self.take(name, f"/admin/{name}")
        page.set_viewport_size({"width": PHONE, "height": HEIGHT})
        self.take("phone", "/appliances")
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        page.click("button[value=dark]")
        self.take("dark", f"/appliances/{found['lab']}")
        page.click("text=Sign out")
        self.take("login", "/login")

    def _by_hand(self, number: str) -> None:
        self.page.goto(f"{self.url}/appliances/{number}")
        self.page.click("#toggle")
        self.page.fill("#confirm input[name=note]", "cabling in rack 4")
        self.take("confirm")
        self.page.click("#confirm #yes")
        self.page.wait_for_selector("#toggle[aria-checked=false]")


def main() -> None:
    """All pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed: see packages.txt")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "nsdata", "manager", "demo", "--directory", directory]
        command += ["--listen", "127.0.0.1:0", "--agents", "127.0.0.1:0"]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            assert demo.stdout is not None
            found = next(found for line in demo.stdout if (found := LINK.search(line)))
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
                )
                page = browser.new_page(
                    ignore_https_errors=True, viewport={"width": WIDTH, "height": HEIGHT}
                )
                Pictures(page, found[1], Path(directory)).all(found[2])
                browser.close()
        finally:
            demo.terminate()
            demo.wait()


if __name__ == "__main__":
    main()
