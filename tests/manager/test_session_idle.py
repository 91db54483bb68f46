"""A session idles by what a person does, not by what an open page asks by itself."""

import re

from site_ import Site
from sqlalchemy import update
from visitor import Visitor

from nsdata.manager import secrets
from nsdata.manager.api.guard import COOKIE
from nsdata.manager.audit import Role
from nsdata.manager.tables import SessionRow

MINUTES = 60 * 10**9


def _idle(site: Site, one: Visitor, ns: int) -> None:
    """It was used so much earlier than it was."""
    row = SessionRow.digest == secrets.digest(one.client.cookies[COOKIE])
    with site.service.database.writing() as session:
        session.execute(update(SessionRow).where(row).values(used_ns=SessionRow.used_ns - ns))


def test_a_page_left_alone_keeps_no_session(site: Site) -> None:
    one = Visitor(site, Role.VIEWER)
    found = re.search(r'hx-get="([^"]+)"', one.get("/appliances").text)
    assert found
    part = found[1].replace("&amp;", "&")
    _idle(site, one, 40 * MINUTES)
    for _ in range(3):  # it goes on asking
        assert one.get(part, **{"HX-Request": "true"}).status_code == 204
    _idle(site, one, 21 * MINUTES)  # session-idle is an hour
    over = one.get(part, **{"HX-Request": "true", "HX-Current-URL": site.url + "/appliances"})
    assert over.status_code == 401 and over.headers["hx-redirect"].startswith("/login")


def test_a_page_somebody_is_at_keeps_it(site: Site) -> None:
    one = Visitor(site, Role.VIEWER)
    found = re.search(r'hx-get="([^"]+)"', one.get("/appliances").text)
    assert found
    part = found[1].replace("&amp;", "&")
    for told in ({"HX-Request": "true", "X-Acted": "1"}, {}):  # scrolling; then another page
        _idle(site, one, 40 * MINUTES)
        asked = one.get(part if told else "/account", **told)
        assert asked.status_code in (200, 204)
    _idle(site, one, 40 * MINUTES)
    assert one.get("/appliances").status_code == 200
    _idle(site, one, 61 * MINUTES)
    assert one.get("/appliances").status_code == 303
