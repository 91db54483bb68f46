"""Custom locations as a program meets them: every rule, right and wrong, at the request."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from box import ROOT
from site_ import Site
from sqlalchemy import select
from visitor import Prepared

from nsdata.manager.audit import Role
from nsdata.manager.tables import CommandRow

sys.path.insert(0, str(ROOT / "tests" / "support"))
from locations import FINE, NOT_S3_HOSTS, REFUSED, RIGHT, S3_HOSTS, WRONG


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    with site.client(Role.OPERATOR) as found:
        yield found


@pytest.fixture(scope="module")
def prepared(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    made = Prepared(site, tmp_path_factory.mktemp("edge"), "edge")
    made.send(made.told())
    yield made
    made.client.close()


def ask(client: httpx.Client, prepared: Prepared, url: str, **more: str) -> httpx.Response:
    wanted = {"destination": "custom", "url": url, **more}
    return client.post(f"/appliances/{prepared.id}/support-reports", json=wanted)


def taken(client: httpx.Client, prepared: Prepared, url: str, **said: object) -> None:
    """It is asked of the appliance, which says this, and over, so that the next may be."""
    if said:
        prepared.send(prepared.told(support=said))
    answer = ask(client, prepared, url)
    assert answer.status_code == 202, (url, answer.text)
    command = answer.json()
    assert command["parameters"]["url"] == url.partition("?")[0]
    prepared.send(prepared.told(), results=[prepared.result(command, "failed", error="test")])


def refused(client: httpx.Client, prepared: Prepared, url: str, why: str) -> None:
    answer = ask(client, prepared, url)
    told = answer.json()
    assert answer.status_code == 422, url
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["type"] == "urn:nsdata:problem:url"
    assert re.search(why, told["detail"]), (url, told["detail"])


def host_of(address: str) -> str:
    return f"http://{f'[{address}]' if ':' in address else address}/r.tar.gz"


def test_what_keeps_every_rule(client: httpx.Client, prepared: Prepared) -> None:
    urls = [url for _, url in RIGHT]
    urls += [f"https://{host}/b/r.tar.gz?x-amz-acl=private" for host in S3_HOSTS[:2]]
    urls += [f"https://{host}/r.tar.gz" for host in NOT_S3_HOSTS[:2]]
    urls += map(host_of, FINE[:2])
    for url in urls:
        taken(client, prepared, url)


def test_what_breaks_one_is_told_which(client: httpx.Client, prepared: Prepared) -> None:
    for name, url, why in WRONG:
        refused(client, prepared, url, why if name != "empty" else "needs a URL")
    assert not prepared.send(prepared.told())["commands"]
    long = ask(client, prepared, "https://files.example/" + "a" * 10_000)
    assert long.status_code == 422 and "url" in long.json()["detail"]
    other = ask(client, prepared, "https://files.example/r.tar.gz", destination="local")
    assert other.status_code == 422 and "custom location only" in other.json()["detail"]


def test_a_name_is_used_once(client: httpx.Client, prepared: Prepared) -> None:
    url = "https://files.example/once_%25.tar.gz"
    first = ask(client, prepared, f"{url}?signature=x").json()
    prepared.send(prepared.told(), results=[prepared.result(first, "done")])
    again = ask(client, prepared, f"{url}?signature=y")
    assert again.status_code == 409 and again.json()["type"] == "urn:nsdata:problem:url-used"
    assert again.json()["used_by"] == first["id"] and "unique" in again.json()["detail"]
    assert "signature" not in again.text
    for other in ("FILES.example:443/once_%25.tar.gz", "files.example./%6Fnce_%25.tar.gz"):
        assert ask(client, prepared, f"https://{other}").status_code == 409, other
    taken(client, prepared, url.replace("once_", "onceX"))


def test_addresses_that_nothing_is_sent_to(client: httpx.Client, prepared: Prepared) -> None:
    for address in (*REFUSED, "localhost", "r.localhost"):
        refused(client, prepared, host_of(address), r"nothing is sent there unless support\.allow")
    allow = ["127.0.0.0/8", "169.254.0.0/16", "no network"]
    for host in ("127.0.0.1", "169.254.169.254", "localhost"):
        taken(client, prepared, host_of(host), allow=allow)  # the appliance's own setting
    prepared.send(prepared.told(support={"allow": allow}))
    refused(client, prepared, host_of("::1"), r"loopback.*support\.allow")
    prepared.send(prepared.told())


def test_the_same_key_is_the_same_report(client: httpx.Client, prepared: Prepared) -> None:
    """Also when what it asks for would be refused by now."""
    key = {"Idempotency-Key": str(uuid4())}
    at, wanted = f"/appliances/{prepared.id}/support-reports", {"destination": "vendor"}
    prepared.send(prepared.told(support={"vendor": {"available": True, "why": "latest"}}))
    first = client.post(at, json=wanted, headers=key)
    why = "1.0 runs, 2.0 is the latest version: update first"
    prepared.send(prepared.told(support={"vendor": {"available": False, "why": why}}))
    again = client.post(at, json=wanted, headers=key)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    prepared.send(prepared.told(), results=[prepared.result(first.json(), "done")])
    prepared.send(prepared.told(support={"vendor": {"available": False, "why": why}}))
    refused = client.post(at, json=wanted)
    assert refused.status_code == 409 and refused.json()["type"] == "urn:nsdata:problem:vendor"
    assert why in refused.json()["detail"]


def test_a_signature_is_for_the_appliance_alone(
    site: Site, client: httpx.Client, prepared: Prepared
) -> None:
    """Not shown, not in the audit log, and gone from the database when it has been used."""
    secret = "a8f3c0ffee"
    url = f"https://bucket.s3.amazonaws.com/signed.tar.gz?x-amz-acl=private&X-Amz-Signature={secret}"
    key, at = {"Idempotency-Key": str(uuid4())}, f"/appliances/{prepared.id}/support-reports"
    wanted = {"destination": "custom", "url": url}
    asked = client.post(at, json=wanted, headers=key)
    assert asked.status_code == 202, asked.text
    assert prepared.asked()["parameters"]["url"] == url
    with site.client(Role.ADMIN) as admin:
        for path in ("/audit", at, f"/commands/{asked.json()['id']}"):
            told = admin.get(path)
            assert "/signed.tar.gz" in told.text and secret not in asked.text + told.text, path
    prepared.send(prepared.told(), results=[prepared.result(asked.json(), "done")])
    with site.service.database.reading() as session:
        kept = list(session.scalars(select(CommandRow.parameters)))
    assert "signed.tar.gz" in "".join(kept) and secret not in "".join(kept)
    again = client.post(at, json=wanted, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, asked.json()["id"])
    assert secret not in site.log()
