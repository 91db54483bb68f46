"""Pages for everybody: colours that can be read, names for what can be used, tables and charts that
can be heard, all of it by keyboard, on a phone, and without script."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from site_ import Site
from visitor import Prepared, Watched, browser, user, window

from nsdata.fallback.reasons import Reason
from nsdata.manager import pages
from nsdata.manager.audit import Role

CSS = Path(pages.__file__).parent / "static" / "nsdata.css"
PHONE = 360
TEXT, GRAPHIC = 4.5, 3.0  # contrast, WCAG 2.2: 1.4.3 and 1.4.11
DATE_PARTS = 20  # which have the focus in turn, in two fields
STALE = ("#f1e9da", "#2a261e")
# What a careful reader of the page would find; "" for each that is well.
LOOK = r"""
() => {
  const found = [];
  const seen = (one) => one.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
  const what = (one) => one.outerHTML.slice(0, 120);
  const numbers = (text) => text.match(/[\d.]+/g).map(Number);
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || !seen(one) || one.closest(":disabled, .hidden, noscript")) continue;
    const style = getComputedStyle(one);
    const colour = numbers(one.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(colour), light(behind(one))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.push("contrast " + what(one));
  }
  const named = (one) => (one.getAttribute("aria-label") || one.innerText || "").trim()
    || [...(one.labels || [])].some((label) => label.innerText.trim());
  const usable = "a[href], button, input:not([type=hidden]), select, textarea, summary, "
    + "[tabindex='0']";
  for (const one of document.querySelectorAll(usable)) {
    if (seen(one) && !named(one)) found.push("no name " + what(one));
  }
  for (const one of document.querySelectorAll("table")) {
    if (!one.caption || !one.caption.textContent.trim()) found.push("no caption " + what(one));
    for (const head of one.querySelectorAll("th")) {
      if (!head.scope) found.push("no scope " + what(head));
    }
  }
  for (const one of document.querySelectorAll("svg, img, meter, progress")) {
    if (!one.getAttribute("aria-label") && !one.closest("[aria-hidden]")) {
      found.push("no text " + what(one));
    }
  }
  for (const one of document.querySelectorAll("figure")) {
    if (!one.querySelector("figcaption ~ p")) found.push("figure " + what(one));
  }
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  ids.filter((id, i) => ids.indexOf(id) !== i).forEach((id) => found.push("id twice " + id));
  for (const one of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
    const by = one.getAttribute("aria-labelledby") || one.getAttribute("aria-describedby");
    if (!document.getElementById(by)) found.push("named by nothing " + what(one));
  }
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  const levels = [...document.querySelectorAll("h1, h2, h3")].map((one) => Number(one.tagName[1]));
  levels.forEach((level, i) => { if (i && level > levels[i - 1] + 1) found.push("h" + level); });
  if (document.documentElement.scrollWidth > innerWidth) found.push("to be scrolled sideways");
  return found;
}
"""
# How many can be used by keyboard, and where the focus is now.
STOPS = """
() => {
  const all = "a[href], button:enabled, input:enabled:not([type=hidden]), select, summary, "
    + "[tabindex='0']";
  const groups = new Set();
  return [...document.querySelectorAll(all)].filter((one) => {
    if (!one.checkVisibility()) return false;
    if (one.type !== "radio") return true;
    const first = !groups.has(one.name);  // the arrow keys go on from there
    groups.add(one.name);
    return first;
  }).length;
}
"""
FOCUS = """
() => {
  const one = document.activeElement, style = getComputedStyle(one);
  if (one === document.body) return "";
  window.visited = (window.visited || new Set()).add(one);
  return style.outlineStyle === "solid" && parseFloat(style.outlineWidth) >= 2 ? "" : one.outerHTML;
}
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture
def prepared(site: Site, tmp_path: Path) -> Prepared:
    """Something of everything on each tab."""
    made = Prepared(site, tmp_path / "prepared", f"edge-{uuid4().hex[:6]}")
    long = "a" * 120
    register = {"address": 36, "value": 3, "fields": {"state": "FAULT", long: 1}}
    sensors = [{"sensor": f"s{i}", "resource": "fan", "action": long, "level": level, "value": i,
                "unit": "1/min"}
               for i, level in enumerate(("red", "yellow", "green", "unknown"))]  # fmt: skip
    errors = [{"at_ns": 10**18 + 1, "class": "SEU", "words": long, "cycle": 7}]
    for _ in range(2):
        made.send(
            made.told(
                Reason.FPGA, drop_ratio=0.95, top_rules=[{"sid": 1, "message": long}],
                health={"score": 40, "level": "red", "sensors": sensors},
                tiers=[{"tier": 1, "name": "bypass"}], processes={"port": {"phase": "running"}},
                fpga={"transport": "pcie", "state": "failed", "registers": {long: register},
                      "identity": {"magic": "x", "built": {"ways": 2}}, "errors": errors,
                      "counters": {"frames_in": 9}, "use": {"active": False}},
            ),
            history=[made.transition(Reason.FPGA, "fallback", {"why": long, "rows": [{"a": 1}]})],
        )  # fmt: skip
    return made


def test_colours_can_be_read() -> None:
    """In each scheme, of all that text is written in and on, by the style itself."""
    pairs: dict[str, tuple[str, str]] = {}
    style = CSS.read_text()
    for name, both, one in re.findall(r"--(\w+): (?:light-dark\(([^)]+)\)|(#\w+))", style):
        light, dark = both.split(", ") if both else (one, one)
        pairs[name] = light, dark
    for scheme in (0, 1):
        grounds = (pairs["card"][scheme], pairs["ground"][scheme], STALE[scheme])
        assert f"light-dark({', '.join(STALE)})" in style
        for name in ("text", "dim", "link", "good", "warn", "bad"):
            for ground in grounds:
                assert contrast(pairs[name][scheme], ground) >= TEXT, (name, scheme, ground)
        for name in ("main", "danger"):
            assert contrast(pairs["on"][scheme], pairs[name][scheme]) >= TEXT, (name, scheme)
        for name in ("inspected", "bypassed", "blocked", "lost", "link", "main", "dim"):
            assert contrast(pairs[name][scheme], grounds[0]) >= GRAPHIC, (name, scheme)


def contrast(one: str, other: str) -> float:
    """1 to 21, as WCAG has it."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(2 * one for one in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_page_on_a_phone(site: Site, prepared: Prepared, chromium: Any) -> None:
    """Light and dark; then with the Tab key alone."""
    at = f"/appliances/{prepared.id}"
    paths = ["/appliances", at, f"{at}/traffic", f"{at}/health", f"{at}/events", f"{at}/fpga"]
    paths += [f"{at}/remove", f"{at}/reboot", f"{at}/inspection?to=inspect", "/account", "/nothing"]
    paths += [f"/admin/{name}" for name in ("users", "tokens", "enrolment", "audit")]
    titles = set()
    with window(chromium, site, viewport={"width": PHONE, "height": 740}, has_touch=True) as one:
        one.go("/login")
        check(one, "/login")
        one.sign_in(user(site, Role.ADMIN))
        for path in paths:
            one.go(path)
            titles.add(one.page.title())
            check(one, path)
        assert len(titles) == len(paths)
        one.go("/appliances")
        assert one.page.locator("#sort-name").is_visible()
        one.fine()


def check(one: Watched, path: str) -> None:
    """A page that is open, in both schemes and by keyboard."""
    page = one.page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(LOOK) == [], (path, scheme)
    page.evaluate("document.body.tabIndex = -1; document.body.focus(); scrollTo(0, 0)")
    stops = page.evaluate(STOPS)
    for _ in range(stops + DATE_PARTS):
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUS) == "", path
        if page.evaluate("window.visited ? window.visited.size : 0") == stops:
            return
    raise AssertionError(f"{path}: not all of {stops} are reached")


def test_what_changes_is_said_in_one_line(site: Site, prepared: Prepared, chromium: Any) -> None:
    with window(chromium, site) as one:
        one.sign_in(user(site, Role.OPERATOR))
        one.go(f"/appliances/{prepared.id}")
        page, said = one.page, one.page.locator("#said")
        assert page.locator("[aria-live]").count() == 0 and said.get_attribute("role") == "status"
        prepared.send(prepared.told())
        page.wait_for_selector("#said:not(:empty)", state="attached")
        assert said.text_content() == f"{prepared.name}: normal"
        one.fine()


def test_escape_leaves_a_question(site: Site, prepared: Prepared, chromium: Any) -> None:
    with window(chromium, site) as one:
        one.sign_in(user(site, Role.OPERATOR))
        one.go(f"/appliances/{prepared.id}")
        page = one.page
        page.focus("#reboot")
        page.keyboard.press("Enter")
        page.wait_for_selector("#confirm #yes")
        page.wait_for_selector("a:focus >> text=Cancel")
        page.keyboard.press("Escape")
        page.wait_for_selector("#confirm #yes", state="detached")
        assert page.evaluate("document.activeElement.id") == "reboot"
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.headers.get("x-acted", "")))
        page.wait_for_timeout(2500)  # it follows, and nobody is there
        assert len(asked) > 2 and asked[-1] == ""
        asked.clear()
        page.keyboard.press("Shift")
        page.wait_for_timeout(1500)
        assert "1" in asked
        one.fine()


def test_without_script(site: Site, prepared: Prepared, chromium: Any) -> None:
    with window(chromium, site, java_script_enabled=False) as one:
        one.sign_in(user(site, Role.OPERATOR))
        page = one.page
        page.click(f"#a-{prepared.id}")
        assert "Without script a page does not follow" in page.inner_text("body")
        page.click("#toggle")
        page.fill("input[name=note]", "without script")
        page.click("#yes")
        page.wait_for_url(f"**/appliances/{prepared.id}")
        command = prepared.asked()
        assert (command["kind"], command["parameters"]["note"]) == ("inspect", "without script")
        page.reload()
        assert "waiting for the appliance" in page.inner_text("#state")
        for tab in ("Traffic", "Health", "Events", "FPGA"):
            page.click(f".tabs >> text={tab}")
            assert page.locator(".tabs [aria-current=page]").inner_text() == tab
        one.fine()
