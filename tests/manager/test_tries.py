"""Wrong passwords, links and tokens: how many are looked at, and whom they keep out."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from box import PATIENCE_S
from site_ import API, Site
from sqlalchemy import select, update

from nsdata.manager import enrolment, secrets
from nsdata.manager.accounts import (
    LINK_NS,
    TRIES,
    TRIES_OF_ADDRESS,
    TRIES_OF_NAME,
    Accounts,
)
from nsdata.manager.audit import Role, console
from nsdata.manager.database import Database
from nsdata.manager.problems import Problem
from nsdata.manager.settings import ManagerSettings
from nsdata.manager.tables import PasswordLink
from nsdata.manager.throttle import origin

PASSWORD = "correct horse battery"


@contextmanager
def at(site: Site, address: str) -> Iterator[httpx.Client]:
    """A client at this address of the loopback network."""
    way = httpx.HTTPTransport(verify=site.context(), local_address=address)
    with httpx.Client(
        base_url=site.url + API, transport=way, trust_env=False, timeout=PATIENCE_S
    ) as one:
        yield one


def sign_in(client: httpx.Client, name: str, password: str = "wrong") -> int:
    return client.post("/session", json={"name": name, "password": password}).status_code


def make_user(accounts: Accounts, name: str, role: Role = Role.ADMIN) -> int:
    user, link = accounts.add_user(console(), name, role)
    accounts.set_password(link, PASSWORD, "test")
    return user.id


class Counting:
    """The hasher, and how often it was asked, and by how many at once."""

    def __init__(self) -> None:
        self.inner = secrets._hasher
        self.asked, self.now, self.most = 0, 0, 0
        self.lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.inner, name)

        def call(*given: Any) -> Any:
            with self.lock:
                self.asked, self.now = self.asked + 1, self.now + 1
                self.most = max(self.most, self.now)
            try:
                return real(*given)
            finally:
                with self.lock:
                    self.now -= 1

        return call


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> Counting:
    found = Counting()
    monkeypatch.setattr(secrets, "_hasher", found)
    return found


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    database = Database(f"sqlite:///{tmp_path}/x.db")
    yield Accounts(database, ManagerSettings())
    database.close()


def test_tries_at_once_are_counted_as_one_after_another(site: Site) -> None:
    make_user(site.service.accounts, "anna")
    many = 30
    start = threading.Barrier(many)

    def one(number: int) -> int:
        with at(site, "127.0.0.10") as client:
            client.get("/ca")
            start.wait()
            return sign_in(client, "anna", f"wrong {number}")

    with ThreadPoolExecutor(many) as pool:
        found = Counter(pool.map(one, range(many)))
    assert found[401] <= TRIES and found.keys() <= {401, 429, 503}
    assert sum(found.values()) == many
    rows = site.service.views.audit("", 100, None).items
    refused = [row for row in rows if row.source == "127.0.0.10"]
    assert len(refused) == found[401]


def test_few_are_hashed_at_once(accounts: Accounts, hasher: Counting) -> None:
    start = threading.Barrier(30)

    def one(number: int) -> int:
        start.wait()
        with pytest.raises(Problem) as error:
            accounts.sign_in(f"name{number}", "wrong", f"10.0.0.{number}")
        return error.value.status

    with ThreadPoolExecutor(30) as pool:
        found = Counter(pool.map(one, range(30)))
    assert found.keys() <= {401, 503} and found[401] >= secrets.AT_ONCE
    assert hasher.asked == found[401]
    assert hasher.most <= secrets.AT_ONCE


def test_twenty_from_an_address(accounts: Accounts, hasher: Counting) -> None:
    make_user(accounts, "anna")
    hasher.asked = 0
    assert TRIES_OF_ADDRESS == 20
    for number in range(TRIES_OF_ADDRESS):
        with pytest.raises(Problem, match="wrong"):
            accounts.sign_in(f"name{number}", "wrong", "10.0.0.1")
    with pytest.raises(Problem, match="too many") as error:
        accounts.sign_in("anna", PASSWORD, "10.0.0.1")
    assert error.value.status == 429 and 0 < int(error.value.headers["Retry-After"]) <= 900
    assert hasher.asked == TRIES_OF_ADDRESS
    accounts.sign_in("anna", PASSWORD, "10.0.0.2")


def test_as_much_work_for_a_name_that_is_not_there(accounts: Accounts, hasher: Counting) -> None:
    make_user(accounts, "anna")
    accounts.add_user(console(), "new", Role.VIEWER)
    gone = make_user(accounts, "off")
    accounts.change_user(console(), gone, None, False)
    for name in ("anna", "nobody", "new", "off"):
        hasher.asked = 0
        with pytest.raises(Problem, match="name or password is wrong"):
            accounts.sign_in(name, "wrong", "10.0.0.1")
        assert hasher.asked == 1, name


def test_a_right_password_takes_no_try(accounts: Accounts) -> None:
    make_user(accounts, "anna")
    for _ in range(TRIES_OF_ADDRESS + 1):
        accounts.sign_in("anna", PASSWORD, "10.0.0.1")


def test_others_keep_nobody_out_where_they_have_signed_in(site: Site) -> None:
    make_user(site.service.accounts, "bert")
    with at(site, "127.0.0.20") as own, at(site, "127.0.0.29") as new:
        assert sign_in(own, "bert", PASSWORD) == 201
        for number in range(TRIES_OF_NAME // TRIES):
            with at(site, f"127.0.0.{21 + number}") as other:
                assert [sign_in(other, "bert") for _ in range(TRIES + 1)] == [401] * TRIES + [429]
        assert sign_in(new, "bert") == 429, "all together, too"
        assert sign_in(new, "bert", PASSWORD) == 429
        assert sign_in(own, "bert", PASSWORD) == 201
        with site.client() as admin:
            (user,) = [one for one in admin.get("/users").json() if one["name"] == "bert"]
            link = admin.post(f"/users/{user['id']}/password-link").json()["link"]
        wanted = {"token": link.rpartition("/")[2], "password": PASSWORD}
        assert new.post("/session/password", json=wanted).status_code == 204
        assert sign_in(new, "bert", PASSWORD) == 201, "a new password ends it"


def test_the_token_of_a_link_is_looked_at_first(accounts: Accounts, hasher: Counting) -> None:
    _, link = accounts.add_user(console(), "anna", Role.VIEWER)
    found = []
    for _ in range(TRIES_OF_ADDRESS + 2):
        with pytest.raises(Problem) as error:
            accounts.set_password("nonsense", PASSWORD, "10.0.0.1")
        found.append(error.value.status)
    assert found == [403] * TRIES_OF_ADDRESS + [429] * 2
    assert hasher.asked == 0
    assert accounts.set_password(link, PASSWORD, "10.0.0.1") == "anna", "who has one may"


def test_a_link_is_good_for_a_day(site: Site) -> None:
    accounts = site.service.accounts
    assert LINK_NS == 24 * 3600 * 10**9
    user, link = accounts.add_user(console(), "clara", Role.VIEWER)
    now = time.time_ns()
    own = PasswordLink.user_id == user.id
    with accounts.database.reading() as session:
        expires = session.scalar(select(PasswordLink.expires_ns).where(own))
    assert expires is not None and now < expires <= now + LINK_NS
    with accounts.database.writing() as session:
        session.execute(update(PasswordLink).where(own).values(expires_ns=expires - LINK_NS))
    with at(site, "127.0.0.40") as client:
        wanted = {"token": link, "password": PASSWORD}
        assert client.post("/session/password", json=wanted).status_code == 403
        assert client.get(f"{site.url}/password/{link}").status_code == 403


def test_tokens_of_enrolment_that_are_not_usable(site: Site, tmp_path: Path) -> None:
    wanted = {"token": "nope", "name": "box", "csr": "x" * 3000}
    with site.client() as admin, at(site, "127.0.0.1") as client:
        before = admin.get("/audit?limit=1").json()["items"][0]["id"]
        found = [client.post("/enrol", json=wanted) for _ in range(enrolment.REFUSED + 5)]
        assert [one.status_code for one in found] == [403] * enrolment.REFUSED + [429] * 5
        assert int(found[-1].headers["retry-after"]) > 0
        after = admin.get("/audit?limit=1").json()["items"][0]["id"]
        assert after - before == enrolment.REFUSED
        assert site.enrol(tmp_path / "box"), "who has one may"


def test_a_token_ends_with_who_made_it(site: Site) -> None:
    accounts = site.service.accounts
    dora = make_user(accounts, "dora")
    with at(site, "127.0.0.50") as client, site.client() as admin:
        signed = client.post("/session", json={"name": "dora", "password": PASSWORD}).json()
        csrf = {"X-CSRF-Token": signed["csrf_token"]}
        new = {"name": "nightly", "role": "operator"}
        made = client.post("/tokens", json={**new, "role": "admin"}, headers=csrf).json()
        client.cookies.clear()
        by = {"Authorization": f"Bearer {made['token']}"}
        second = client.post("/tokens", json=new, headers=by).json()
        assert made["info"]["owner"] == second["info"]["owner"] == "dora"
        listed = {one["id"]: one["owner"] for one in admin.get("/tokens").json()}
        assert listed[made["info"]["id"]] == "dora" and None in listed.values()
        roles = []
        for role in ("viewer", "admin"):
            admin.patch(f"/users/{dora}", json={"role": role})
            for one in (made, second):
                by = {"Authorization": f"Bearer {one['token']}"}
                roles.append(client.get("/session", headers=by).json()["role"])
        assert roles == ["viewer", "viewer", "admin", "operator"]
        for change, why in (
            (lambda: admin.patch(f"/users/{dora}", json={"enabled": False}), "is disabled"),
            (lambda: admin.delete(f"/users/{dora}"), "is not known"),
        ):
            change().raise_for_status()
            for one in (made, second):
                by = {"Authorization": f"Bearer {one['token']}"}
                answer = client.get("/session", headers=by)
                assert answer.status_code == 401 and why in answer.json()["detail"]


def test_an_address_of_ipv6_is_its_network() -> None:
    assert origin("2001:db8:1:2:3:4:5:6") == origin("2001:db8:1:2::9") != origin("2001:db8:1:3::9")
    assert origin("::ffff:10.0.0.1") == origin("10.0.0.1") != origin("10.0.0.2")
    assert origin("fe80::1%eth0") == origin("fe80::2")
    assert origin("unknown") == "unknown"
