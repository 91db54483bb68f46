"""People: the first link, passwords, sessions, CSRF, tries; users and tokens; the audit log."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from site_ import API, Site

from nsdata.manager.accounts import TRIES
from nsdata.manager.audit import Role, console
from nsdata.manager.throttle import Throttle

PASSWORD = "correct horse battery"


@pytest.fixture
def browser(site: Site) -> Iterator[httpx.Client]:
    """Without a token, with a jar for cookies."""
    with httpx.Client(base_url=site.url + API, verify=site.context(), trust_env=False,
                      timeout=30) as client:  # fmt: skip
        yield client


def make_user(site: Site, name: str, role: Role = Role.ADMIN) -> None:
    _, link = site.service.accounts.add_user(console(), name, role)
    site.service.accounts.set_password(link, PASSWORD, "test")


def sign_in(browser: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return browser.post("/session", json={"name": name, "password": password})


def test_the_first_link_sets_the_admins_password_once(tmp_path: Path) -> None:
    with Site(tmp_path) as site, site.client(None) as client:
        first = site.link
        assert first.startswith("nsdp_")
        assert sign_in(client, "admin", "admin").status_code == 401
        site.__exit__()
        site._service = None
        site.start()
        assert site.link and site.link != first, "another one, while nobody has used it"
        wanted = {"token": first, "password": PASSWORD}
        answer = client.post("/session/password", json=wanted)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:nsdata:problem:link")
        short = client.post("/session/password", json={"token": site.link, "password": "short"})
        assert short.status_code == 422
        wanted["token"] = site.link
        assert client.post("/session/password", json=wanted).status_code == 204
        assert client.post("/session/password", json=wanted).status_code == 403
        assert sign_in(client, "admin").status_code == 201
        site.__exit__()
        site._service = None
        site.start()
        assert not site.link


def test_a_session(site: Site, browser: httpx.Client) -> None:
    make_user(site, "anna", Role.OPERATOR)
    answer = sign_in(browser, "anna")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-nsdata=nsds_")
    for attribute in ("HttpOnly", "Secure", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert attribute.lower() in cookie.lower()
    assert "domain" not in cookie.lower()
    told = browser.get("/session").json()
    assert told == answer.json()
    assert (told["actor"], told["role"]) == ("user:anna", "operator")
    search = {"text": ""}
    assert browser.post("/appliances/search", json=search).status_code == 403
    wrong = {"X-CSRF-Token": told["csrf_token"][:-1] + "x"}
    assert browser.post("/appliances/search", json=search, headers=wrong).status_code == 403
    right = {"X-CSRF-Token": told["csrf_token"]}
    assert browser.post("/appliances/search", json=search, headers=right).status_code == 200
    assert browser.delete("/session", headers=right).status_code == 204
    browser.cookies.set("__Host-nsdata", cookie.split("=")[1].split(";")[0], domain="127.0.0.1")
    assert browser.get("/session").status_code == 401


def test_too_many_tries(site: Site, browser: httpx.Client) -> None:
    make_user(site, "bert")
    for _ in range(TRIES):
        assert sign_in(browser, "bert", "wrong").status_code == 401
    answer = sign_in(browser, "bert")  # the right one: too late
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 15 * 60
    make_user(site, "carla")
    assert sign_in(browser, "carla").status_code == 201, "others may"


def test_the_throttle_lets_go_in_time() -> None:
    throttle = Throttle(2, 100)
    assert [throttle.take("a", now) for now in (0, 50, 60)] == [0, 0, 40]
    assert throttle.take("b", 60) == 0
    assert [throttle.take("a", now) for now in (100, 100)] == [0, 50]
    throttle.give_back("a", 100)
    assert [throttle.take("a", now) for now in (101, 101)] == [0, 49]
    throttle.forget("a")
    assert throttle.take("a", 101) == 0


def test_unknown_names_and_wrong_passwords_look_alike(site: Site, browser: httpx.Client) -> None:
    make_user(site, "dora")
    wrong, unknown = sign_in(browser, "dora", "wrong"), sign_in(browser, "nobody", "wrong")
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()


def test_what_a_change_of_an_account_ends(site: Site, browser: httpx.Client) -> None:
    make_user(site, "emil")
    with site.client() as admin:
        (user,) = [one for one in admin.get("/users").json() if one["name"] == "emil"]
        path = f"/users/{user['id']}"
        for change in (
            lambda: admin.patch(path, json={"role": "viewer"}),
            lambda: admin.patch(path, json={"enabled": False}),
        ):
            assert sign_in(browser, "emil").status_code == 201
            assert browser.get("/session").status_code == 200
            assert change().status_code == 200
            assert browser.get("/session").status_code == 401
        assert sign_in(browser, "emil").status_code == 401, "disabled"
        admin.patch(path, json={"enabled": True})
        link = admin.post(f"{path}/password-link").json()["link"]
        assert link.startswith(f"{site.url}/password/nsdp_")
        assert sign_in(browser, "emil").status_code == 201
        wanted = {"token": link.rpartition("/")[2], "password": PASSWORD + "!"}
        assert browser.post("/session/password", json=wanted).status_code == 204
        assert browser.get("/session").status_code == 401, "another password ends sessions"
        assert sign_in(browser, "emil").status_code == 401
        assert admin.delete(path).status_code == 204
        assert admin.delete(path).status_code == 404
        assert admin.post("/users", json={"name": "dora2", "role": "viewer"}).status_code == 201
        assert admin.post("/users", json={"name": "dora2", "role": "viewer"}).status_code == 409


def test_an_admin_remains(tmp_path: Path) -> None:
    with Site(tmp_path) as site, site.client() as admin:
        (user,) = admin.get("/users").json()
        for answer in (
            admin.delete(f"/users/{user['id']}"),
            admin.patch(f"/users/{user['id']}", json={"role": "viewer"}),
            admin.patch(f"/users/{user['id']}", json={"enabled": False}),
        ):
            assert answer.status_code == 409
        assert admin.get("/users").json() == [user]


def test_tokens_are_shown_once_and_kept_as_hashes(site: Site) -> None:
    with site.client() as admin:
        made = admin.post("/tokens", json={"name": "nightly", "role": "viewer"}).json()
        enrolment = admin.post("/enrolment-tokens", json={"note": "edge"}).json()["token"]
        for secret in (made["token"], enrolment.partition(".")[0]):
            for path in ("/tokens", "/enrolment-tokens", "/audit?limit=500"):
                assert secret not in admin.get(path).text
            for file in site.directory.glob("manager.db*"):
                assert secret.encode() not in file.read_bytes()
        viewer = {"Authorization": f"Bearer {made['token']}"}
        assert admin.get("/session", headers=viewer).json()["role"] == "viewer"
        admin.delete(f"/tokens/{made['info']['id']}")
        answer = admin.get("/session", headers=viewer)
        assert (answer.status_code, answer.json()["detail"]) == (401, "the token is revoked")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        actions = [row["action"] for row in admin.get("/audit").json()["items"][:3]]
        assert actions == ["token.revoke", "enrolment-token.add", "token.add"]


def test_headers_on_every_answer(site: Site, browser: httpx.Client) -> None:
    for method, path, status in (
        ("GET", "/ca", 200), ("GET", "/appliances", 401), ("GET", "/nothing", 404),
        ("PUT", "/ca", 405), ("POST", "/session", 422),
    ):  # fmt: skip
        answer = browser.request(method, path)
        assert answer.status_code == status
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "strict-transport-security" in answer.headers
        assert "server" not in answer.headers


def test_a_body_without_end(site: Site, browser: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(100_000)

    for content in (bytes(2 << 20), chunks()):
        try:
            answer = browser.post("/session", content=content)  # type: ignore[arg-type]
        except httpx.TransportError:
            continue  # it hung up while more was coming
        assert answer.status_code == 413
        assert answer.json()["type"] == "urn:nsdata:problem:too-large"


def test_old_tls_is_refused(site: Site) -> None:
    context = site.context()
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError), httpx.Client(verify=context) as client:
        client.get(site.url)
