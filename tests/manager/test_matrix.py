"""Who may what: every route of the API × every way to ask. Generated from the app's own routes, so
that a new one is in it by itself; what is expected is stated here a second time, by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import pytest
from site_ import API, Site

from nsdata.manager.api.app import make_app, roles
from nsdata.manager.api.guard import COOKIE, CSRF_HEADER
from nsdata.manager.audit import Role, console
from nsdata.manager.tables import ApiToken

V, OP, A = Role.VIEWER, Role.OPERATOR, Role.ADMIN
ONE = "/appliances/{appliance_id}"
EXPECTED: dict[tuple[str, str], Role | None] = {
    ("GET", "/appliances"): V,
    ("POST", "/appliances/search"): V,
    ("GET", ONE): V,
    ("DELETE", ONE): A,
    ("GET", f"{ONE}/inspection"): V,
    ("PUT", f"{ONE}/inspection"): OP,
    ("POST", f"{ONE}/reboot"): OP,
    ("POST", f"{ONE}/reload"): OP,
    ("POST", f"{ONE}/support-reports"): OP,
    ("GET", f"{ONE}/support-reports"): V,
    ("GET", f"{ONE}/support-reports/{{report_id}}"): V,
    ("DELETE", f"{ONE}/support-reports/{{report_id}}"): OP,
    ("GET", f"{ONE}/support-reports/{{report_id}}/archive"): OP,
    ("DELETE", f"{ONE}/support-reports/{{report_id}}/archive"): OP,
    ("GET", f"{ONE}/transitions"): V,
    ("GET", f"{ONE}/events"): V,
    ("GET", f"{ONE}/samples"): V,
    ("GET", f"{ONE}/commands"): V,
    ("GET", "/commands/{command_id}"): V,
    ("DELETE", "/commands/{command_id}"): OP,
    ("POST", "/session"): None,
    ("GET", "/session"): V,
    ("DELETE", "/session"): V,
    ("POST", "/session/password"): None,
    ("GET", "/about"): V,
    ("GET", "/audit"): A,
    ("GET", "/users"): A,
    ("POST", "/users"): A,
    ("PATCH", "/users/{user_id}"): A,
    ("DELETE", "/users/{user_id}"): A,
    ("POST", "/users/{user_id}/password-link"): A,
    ("GET", "/tokens"): A,
    ("POST", "/tokens"): A,
    ("DELETE", "/tokens/{token_id}"): A,
    ("GET", "/enrolment-tokens"): A,
    ("POST", "/enrolment-tokens"): A,
    ("DELETE", "/enrolment-tokens/{token_id}"): A,
    ("POST", "/enrol"): None,
    ("GET", "/ca"): None,
}
WAYS = (
    "none", "malformed", "wrong", "expired", "revoked", "session over", "user disabled",
    *(f"{how} {role}" for how in ("token", "session", "session without CSRF") for role in Role),
)  # fmt: skip
PASSWORD = "correct horse battery"


@dataclass
class Ways:
    """Headers and cookies by way of asking, made anew where asking uses them up."""

    site: Site
    headers: dict[str, dict[str, str]] = field(default_factory=dict)

    def user(self, role: Role) -> str:
        """A user with a password."""
        name = f"{role}-{uuid4().hex[:8]}"
        accounts = self.site.service.accounts
        _, link = accounts.add_user(console(), name, role)
        return accounts.set_password(link, PASSWORD, "test")

    def session(self, name: str, csrf: bool) -> dict[str, str]:
        made = self.site.service.accounts.sign_in(name, PASSWORD, "test")
        found = {"Cookie": f"{COOKIE}={made.cookie}"}
        return {**found, CSRF_HEADER: made.actor.csrf or ""} if csrf else found

    def of(self, way: str) -> dict[str, str]:
        if way not in self.headers:
            self.headers[way] = self._make(way)
        return self.headers[way]

    def _make(self, way: str) -> dict[str, str]:
        accounts = self.site.service.accounts
        if way == "none":
            return {}
        if way.startswith("session ") and way != "session over":
            return self.session(self.user(Role(way.rsplit(" ", 1)[1])), "without" not in way)
        if way == "malformed":
            return {"Authorization": "Basic dXNlcjpwYXNz"}
        if way == "wrong":
            return {"Authorization": "Bearer nsdt_" + "x" * 43}
        if way in ("session over", "user disabled"):
            name = self.user(A)
            headers = self.session(name, csrf=True)
            user = next(one for one in accounts.users() if one.name == name)
            if way == "session over":
                accounts.sign_out(accounts.by_session(headers["Cookie"].partition("=")[2], "test"))
            else:
                accounts.change_user(console(), user.id, None, False)
            return headers
        role = Role(way.split()[1]) if way.startswith("token") else A
        row, token = accounts.add_token(console(), way, role, 1)
        if way == "expired":
            with self.site.service.database.writing() as session:
                kept = session.get(ApiToken, row.id)
                assert kept is not None
                kept.expires_ns = time.time_ns() - 1
        if way == "revoked":
            accounts.revoke_token(console(), row.id)
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def ways(site: Site) -> Ways:
    site.service.accounts.first_admin()
    return Ways(site)


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    with site.client(None) as found:
        yield found


def test_every_route_is_expected(site: Site) -> None:
    found = {
        (method, path.removeprefix(API)): role
        for (path, method), role in roles(make_app(site.service)).items()
    }
    assert found == {route: role or "open" for route, role in EXPECTED.items()}


@pytest.mark.parametrize("way", WAYS)
def test_the_matrix(way: str, ways: Ways, client: httpx.Client) -> None:
    wrong = []
    for (method, path), needed in EXPECTED.items():
        client.cookies.clear()
        url = path.format(appliance_id=uuid4(), report_id=uuid4(), command_id=uuid4(),
                          user_id=(1 << 62), token_id=(1 << 62))  # fmt: skip
        answer = client.request(method, url, headers=ways.of(way), content=b"{not JSON")
        if (method, path) == ("DELETE", "/session"):
            ways.headers.pop(way, None)  # it is over
        told = verdict(answer)
        if told != expected(way, method, needed):
            wrong.append(f"{method} {path}: {told}, not {expected(way, method, needed)}")
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code
    assert not wrong


def verdict(answer: httpx.Response) -> str:
    """What the guard said: whatever comes after it is `in`."""
    kind = answer.json().get("type", "") if answer.status_code in (401, 403) else ""
    by_guard = {401: "401", 403: f"403 {kind.rpartition(':')[2]}"}
    return by_guard.get(answer.status_code, "in")


def expected(way: str, method: str, needed: Role | None) -> str:
    if needed is None:
        return "in"
    if not way.startswith(("token", "session ")) or way == "session over":
        return "401"
    if "without" in way and method not in ("GET", "HEAD"):
        return "403 csrf"
    return "in" if Role(way.rsplit(" ", 1)[1]).includes(needed) else "403 role"
