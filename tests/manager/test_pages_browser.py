"""Pages in a real browser without a screen: they follow by themselves, are used by keyboard, fit a
phone, and break no rule of the policy."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from site_ import Site
from visitor import HOSTILE, PASSWORD, Prepared, Watched, browser, user, window

from nsdata.fallback.reasons import ABOUT, Reason
from nsdata.manager.audit import Role

TABS = ("", "/traffic", "/health", "/events", "/fpga")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture
def admin(site: Site, chromium: Any) -> Iterator[Watched]:
    """An admin's window, where nothing may go wrong."""
    with window(chromium, site) as found:
        found.sign_in(user(site, Role.ADMIN))
        yield found
        found.fine()


@pytest.fixture
def prepared(site: Site, tmp_path: Path) -> Prepared:
    made = Prepared(site, tmp_path / "prepared", f"edge-{uuid4().hex[:6]}")
    made.send(made.told())
    return made


def test_all_reasons_come_by_themselves(prepared: Prepared, admin: Watched) -> None:
    """The page is not loaded again: what is reported appears."""
    page = admin.page
    admin.go(f"/appliances/{prepared.id}")
    for reason in Reason:
        entry = prepared.transition(reason, "fallback", {"told": f"because {reason.name}"})
        prepared.send(prepared.told(reason, "fallback"), history=[entry])
        page.wait_for_selector(f"#reason strong >> text={reason.value}")
        page.wait_for_selector(f"text=because {reason.name}")
        told = page.inner_text("#reason")
        about = ABOUT[reason]
        assert about.severity.value in told and about.cause in told and about.resolution in told
        assert page.get_attribute("#toggle", "aria-checked") == "false"


def test_the_table_follows(site: Site, prepared: Prepared, admin: Watched) -> None:
    page = admin.page
    admin.go(f"/appliances?q={prepared.name}")
    row = page.locator("tbody tr")
    prepared.send(prepared.told())
    page.wait_for_selector("tbody >> text=✓ normal")
    row.locator("a").first.focus()
    prepared.send(prepared.told(Reason.MEMORY, drop_ratio=0.95))
    page.wait_for_selector("tbody >> text=▲ 95.0 %")
    assert "memory error" in row.inner_text()
    assert page.evaluate("document.activeElement.id") == f"a-{prepared.id}"  # the focus stays
    page.wait_for_selector("tbody >> text=not seen for")
    row.get_by_text("Remove").click()
    page.fill("input[name=name]", prepared.name)
    page.get_by_role("button", name="Remove").click()
    page.wait_for_url(site.url + "/appliances")


def test_a_page_that_no_longer_follows_says_so(
    site: Site, prepared: Prepared, chromium: Any
) -> None:
    with window(chromium, site) as one:
        one.sign_in(user(site, Role.VIEWER))
        assert one.page.locator("#lost").is_hidden()
        one.page.context.set_offline(True)
        one.page.wait_for_selector("#lost", state="visible")
        one.page.context.set_offline(False)
        one.page.wait_for_selector("#lost", state="hidden")
        site.service.accounts.sign_out(_actor(site, one))
        one.page.wait_for_url(site.url + "/login?*", wait_until="commit")


def _actor(site: Site, one: Watched) -> Any:
    cookie = next(c for c in one.page.context.cookies() if c["name"] == "__Host-nsdata")
    return site.service.accounts.by_session(cookie["value"], "test")


def test_by_keyboard_alone(site: Site, prepared: Prepared, chromium: Any) -> None:
    with window(chromium, site) as one:
        page, name = one.page, user(site, Role.OPERATOR)
        keys = page.keyboard

        def to(selector: str) -> None:
            """With Tab, to what can be seen to have the focus."""
            for _ in range(60):
                keys.press("Tab")
                if page.evaluate("s => document.activeElement.matches(s)", selector):
                    outline = "getComputedStyle(document.activeElement).outlineStyle"
                    assert page.evaluate(outline) == "solid", selector
                    return
            raise AssertionError(f"Tab does not reach {selector}")

        one.go(f"/login?next=/appliances?q={prepared.name}")
        keys.type(name)  # the first field has the focus
        keys.press("Tab")
        keys.type(PASSWORD)
        keys.press("Enter")
        page.wait_for_url(f"{site.url}/appliances?q={prepared.name}")
        keys.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        keys.press("Enter")
        to(f"#a-{prepared.id}")
        keys.press("Enter")
        page.wait_for_url(f"**/appliances/{prepared.id}")
        to("#toggle")
        keys.press("Space")
        page.wait_for_selector("#confirm #yes")
        page.wait_for_function("document.activeElement.name == 'note'")
        keys.type("by keyboard")
        keys.press("Enter")
        command = prepared.asked()
        assert (command["kind"], command["parameters"]["note"]) == ("bypass", "by keyboard")
        prepared.send(prepared.told(), results=[prepared.result(command, "done")])
        page.wait_for_selector("text=✓ done into fallback")
        to(".tabs a[href$='/traffic']")
        keys.press("Enter")
        page.wait_for_url("**/traffic")
        one.fine()


def feed(prepared: Prepared) -> None:
    """Something on every tab."""
    sensor = {"sensor": "temperature-of-the-inlet-of-rack-4", "resource": "temperature",
              "level": "red", "value": 97.5, "unit": "°C", "major": 80, "critical": 95,
              "points": 60, "action": "Look whether the air can pass; cool the room."}  # fmt: skip
    long = "a" * 120
    prepared.send(
        prepared.told(
            Reason.THRESHOLD,
            drop_ratio=0.95,
            health={"score": 40, "level": "red", "sensors": [sensor]},
            top_rules=[{"sid": 2_000_017, "dropped_packets": 20, "message": long}],
            tiers=[{"tier": i, "rate_pps": 1.5e6, "high_pps": 2e6, "ratio": 0.5} for i in range(4)],
            fpga={"transport": "pcie", "state": "failed", "errors": [{"error": long}],
                  "registers": {long: {"address": 4, "value": 5, "fields": {long: 5}}}},
        ),
        history=[
            prepared.transition(Reason.THRESHOLD, "fallback", {"why": long, HOSTILE: HOSTILE})
        ],
    )  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(site: Site, chromium: Any, scheme: str) -> None:
    other = {"light": "dark", "dark": "light"}[scheme]
    with window(chromium, site, color_scheme=scheme) as one:
        one.go("/login")
        grounds = {scheme: ground(one.page)}
        one.page.click(f"button[value={other}]")
        one.page.wait_for_selector(f"html[data-theme={other}]")
        grounds[other] = ground(one.page)
        one.page.click("button[value=auto]")
        one.page.wait_for_selector("html[data-theme=auto]")
        assert ground(one.page) == grounds[scheme]
        assert grounds["light"] > 600 > 200 > grounds["dark"]
        one.fine()


def ground(page: Any) -> int:
    """How bright it is behind the text: 0 to 765."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour[4:-1].split(","))


def test_nothing_hostile_runs(prepared: Prepared, admin: Watched) -> None:
    feed(prepared)
    dialogs: list[str] = []
    admin.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for tab in TABS:
        admin.go(f"/appliances/{prepared.id}{tab}")
        time.sleep(0.3)
    for opened in admin.page.locator("details").all():
        opened.click()
    assert not dialogs
    assert not admin.page.locator("main img, main script").count()


def test_evidence_stays_open_while_events_come(prepared: Prepared, admin: Watched) -> None:
    prepared.send(prepared.told(), history=[prepared.event("first", {"figure": 1})])
    admin.go(f"/appliances/{prepared.id}/events")
    admin.page.click("summary >> nth=0")
    admin.page.wait_for_selector("dd >> text=1")
    prepared.send(prepared.told(), history=[prepared.event("second", {"figure": 2})])
    admin.page.wait_for_selector("td >> text=second")
    assert admin.page.locator("details[open]").count() == 1


def test_a_support_report_in_the_browser(prepared: Prepared, admin: Watched) -> None:
    page = admin.page
    admin.go(f"/appliances/{prepared.id}")
    assert page.locator("input[value=vendor]").is_disabled()
    assert "Not possible" in page.inner_text("#vendor-why")
    page.fill("#url", "https://files.example/report.zip")
    page.click("#create")  # to the manager, as is offered: with a URL that is not meant
    page.wait_for_selector("#error >> text=A URL is for a custom location only")
    page.check("input[value=custom]")
    page.click("#create")
    page.wait_for_selector("#error >> text=file name, NAME.tar.gz")
    assert page.input_value("#url") == "https://files.example/report.zip"
    page.fill("#url", "https://files.example/report.tar.gz")
    page.click("#create")
    command = prepared.asked()
    for progress in (0.2, 0.8):
        runs = prepared.result(command, "running", progress=progress)
        prepared.send(prepared.told(), results=[runs])
        page.wait_for_selector(f"progress[value='{progress * 100:.0f}']")
    told = {"file_name": "report.tar.gz", "size": 2048}
    prepared.send(prepared.told(), results=[prepared.result(command, "done", told=told)])
    page.wait_for_selector("text=report.tar.gz, 2 KiB")
