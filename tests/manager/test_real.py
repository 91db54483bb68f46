"""A real appliance behind the pages: all that an operator does, in a browser, in one go."""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from box import PATIENCE_S, QUICK, ROOT, Box
from site_ import Site, ended, wait
from visitor import Watched, browser, user, window

from nsdata import __version__
from nsdata.manager.audit import Role

sys.path.insert(0, str(ROOT / "tests" / "support"))
from servers import Server, answer, reply, serve


class Vendor:
    """A real server that stands for the vendor: it takes reports, and says the latest version."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.latest = __version__
        self.takes = threading.Event()  # what is sent to it; meanwhile it waits
        self.takes.set()

    def act(self, handler: Any, server: Server) -> None:
        if handler.command == "GET":
            reply(handler, 200, json.dumps({"version": self.latest}))
            return
        self.takes.wait(PATIENCE_S)
        answer(201)(handler, server)


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    found: list[Vendor] = []
    with serve(lambda handler, server: found[0].act(handler, server)) as server:
        found.append(Vendor(server))
        yield found[0]


@pytest.fixture(scope="module")
def box(
    site: Site, vendor: Vendor, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Box]:
    at = vendor.server
    more = (
        '[support]\nallow = ["127.0.0.0/8"]\n[support.vendor]\n'
        f'url = "{at.url("/in/")}"\nlatest = "{at.url("/latest.json")}"'
    )
    with Box(tmp_path_factory.mktemp("box"), settings=QUICK, more=more, rate="2kpps") as found:
        yield found


@pytest.fixture(scope="module")
def appliance(site: Site, box: Box) -> str:
    """Its id, once it reports and knows whether the vendor takes reports."""
    number = site.enrol(box.directory)

    def vendor() -> Any:
        support = site.service.views.appliance(UUID(number)).support
        return support.get("vendor", {}).get("available")

    wait(vendor, "it reports", lambda: site.log() + box.log())
    return number


@pytest.fixture(scope="module")
def operator(site: Site) -> Iterator[Watched]:
    with browser() as chromium, window(chromium, site) as found:
        found.sign_in(user(site, Role.OPERATOR))
        yield found
        found.fine()


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    with site.client(Role.OPERATOR) as found:
        yield found


def test_into_fallback_and_back(box: Box, appliance: str, operator: Watched) -> None:
    page = operator.page
    operator.go(f"/appliances/{appliance}")
    assert page.get_attribute("#toggle", "aria-checked") == "true"
    page.click("#toggle")
    page.wait_for_selector("#confirm >> text=into fallback?")
    assert page.url.endswith(appliance), "it is asked on the page itself"
    page.fill("#confirm input[name=note]", "for a test")
    page.click("text=Stop inspecting")
    page.wait_for_selector("#toggle[aria-checked=false]")
    page.wait_for_selector("#reason >> text=no error")
    page.wait_for_selector(".state dd >> text=for a test")  # the evidence
    told = page.inner_text("#reason")
    assert "Info" in told and "Restore to normal to resume inspection" in told
    assert box.status()["state"] == "fallback"
    operator.go(f"/appliances/{appliance}/events")
    page.wait_for_selector("td >> text=▲ fallback")
    operator.go(f"/appliances/{appliance}")
    page.click("#toggle")
    page.click("text=Inspect traffic")
    page.wait_for_selector("#toggle[aria-checked=true]")
    box.wait(lambda told: told["state"] == "normal", "it inspects again")
    page.wait_for_selector("#reason >> text=Nothing to do.")
    for tab in ("traffic", "health", "fpga"):
        operator.go(f"/appliances/{appliance}/{tab}")
        page.wait_for_selector("main h1")
    page.wait_for_selector("text=runs without an FPGA")


def test_a_reboot_of_it(box: Box, appliance: str, operator: Watched, client: httpx.Client) -> None:
    """Its progress is to be seen, it happens once, traffic is permitted, all is well afterwards."""
    page = operator.page
    before = box.status()
    operator.go(f"/appliances/{appliance}")
    page.click("#reboot")
    page.click("#confirm #yes")
    again = client.post(f"/appliances/{appliance}/reboot").json()
    page.wait_for_selector("li:has-text('reboot') >> css=progress")
    page.wait_for_selector("text=✓ done reboot")
    assert ended(client, again)["state"] == "done"
    reboots = client.get(f"/appliances/{appliance}/commands").json()["items"]
    assert [one["kind"] for one in reboots].count("reboot") == 1, "asked twice, it happens once"
    told = box.wait(lambda told: told["state"] == "normal", "it inspects again")
    assert told["reason"] == "no error"
    pids = [told["processes"]["worker-0"]["pid"] for told in (before, told)]
    assert pids[0] != pids[1]
    assert told["ledger"]["bypassed"]["packets"] > before["ledger"]["bypassed"]["packets"]
    assert told["ledger"]["lost"] == before["ledger"]["lost"]
    page.wait_for_selector("#toggle[aria-checked=true]")
    assert "no error" in page.inner_text("#reason")


def test_a_report_is_downloaded(
    box: Box, appliance: str, operator: Watched, client: httpx.Client, vendor: Vendor,
    tmp_path: Path,
) -> None:  # fmt: skip
    page = operator.page
    operator.go(f"/appliances/{appliance}")
    assert page.is_checked("input[value=manager]"), "as it is offered"
    page.check("input[value=custom]")
    page.fill("#url", vendor.server.url("/own/r.tar.gz"))
    vendor.takes.clear()  # it lasts until its progress was seen
    page.click("#create")
    page.click("#create")  # a second one; the first is not even fetched by the appliance yet
    running = client.get(f"/appliances/{appliance}/support-reports").json()["items"][0]
    page.wait_for_selector(f"#error >> text=runs already: {running['id']}")
    page.wait_for_selector("progress[aria-label='support report']")
    vendor.takes.set()
    assert ended(client, running)["state"] == "done"
    assert vendor.server.seen[-1].path == "/own/r.tar.gz"
    operator.go(f"/appliances/{appliance}")
    page.click("#create")
    link = page.wait_for_selector("a:has-text('Download nsdata-support-box-')")
    with page.expect_download() as waiting:
        link.click()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    report = client.get(f"/appliances/{appliance}/support-reports").json()["items"][0]
    assert file.name == report["archive"]["file_name"]
    data = file.read_bytes()
    assert hashlib.sha256(data).hexdigest() == report["archive"]["sha256"]
    assert data == Path(report["result"]["location"]).read_bytes()
    manifest = whole(file)
    assert manifest["appliance"] == "box" and manifest["by"].startswith("user:operator-")
    assert report["archive"]["sha256"] in page.inner_text("#support")


def whole(file: Path) -> dict[str, Any]:
    """The manifest, whose digests are those of the parts."""
    with tarfile.open(file) as archive:
        found = {one.name.partition("/")[2]: archive.extractfile(one) for one in archive}
        parts = {name: part.read() for name, part in found.items() if part is not None}
    manifest: dict[str, Any] = json.loads(parts.pop("manifest.json"))
    assert {one["name"]: one["sha256"] for one in manifest["parts"]} == {
        name: hashlib.sha256(data).hexdigest() for name, data in parts.items()
    }
    assert {"settings.json", "status.json", "transitions.jsonl"} <= parts.keys()
    return manifest


def test_the_vendor_takes_it_while_it_is_the_latest(
    box: Box, appliance: str, operator: Watched, client: httpx.Client, vendor: Vendor
) -> None:
    page, at = operator.page, f"/appliances/{appliance}/support-reports"
    operator.go(f"/appliances/{appliance}")
    assert "latest available version" in page.inner_text("#vendor-why")
    page.check("input[value=vendor]")
    page.click("#create")
    page.wait_for_selector("li:has-text('to the vendor') >> text=✓ done")
    told = client.get(at).json()["items"][0]["result"]
    sent = vendor.server.seen[-1]
    assert sent.path == f"/in/{told['file_name']}"
    assert hashlib.sha256(sent.body).hexdigest() == told["sha256"]
    vendor.latest = "99.0"  # it is out
    asked = client.post(at, json={"destination": "vendor"}).json()
    assert "99.0 is the latest version: update first" in ended(client, asked)["error"]

    def refused() -> Any:
        again = client.post(at, json={"destination": "vendor"})
        return again if again.status_code == 409 else ended(client, again.json()) and None

    problem = wait(refused, "the appliance says that it is not the latest").json()
    assert problem["type"] == "urn:nsdata:problem:vendor"
    assert "99.0 is the latest version: update first" in problem["detail"]
    operator.go(f"/appliances/{appliance}")
    assert page.locator("input[value=vendor]").is_disabled()
    why = page.inner_text("#vendor-why")
    assert "Not possible" in why and "99.0 is the latest version: update first" in why
