"""Enrolment: the token, the CA, the certificate; and who is not let in."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import httpx
import pytest
from agents import Simulated, report
from site_ import Site, wait

from nsdata.appliance.agent.membership import Membership, enrol, leave, make_request
from nsdata.appliance.protocol import RENEW_PATH
from nsdata.errors import NsdataError
from nsdata.manager.audit import Role, console
from nsdata.manager.ca import Authority
from nsdata.manager.tables import Appliance, EnrolmentToken


def attempt(site: Site, directory: Path, token: str) -> str:
    """Why it is refused."""
    with pytest.raises(NsdataError) as error:
        enrol(directory, "box", site.url, token)
    assert Membership.load(directory) is None
    return str(error.value)


def test_a_token_is_good_once(site: Site, tmp_path: Path) -> None:
    token = site.enrolment_token()
    member = enrol(tmp_path / "one", "box", site.url, token)
    assert Membership.load(tmp_path / "one") == member
    assert (member.certificate.stat().st_mode & 0o777) == 0o600
    assert "used up" in attempt(site, tmp_path / "two", token)
    with site.client() as client:
        rows = client.get("/audit", params={"query": "appliance.enrol"}).json()["items"]
    assert [(row["result"], row["source"]) for row in rows[:2]] == [
        ("refused", "127.0.0.1"), ("done", "127.0.0.1"),
    ]  # fmt: skip


def test_tokens_that_are_no_good(site: Site, tmp_path: Path) -> None:
    service = site.service
    row, expired = service.enrolments.add_token(console(), "", 1)
    with service.database.writing() as session:
        kept = session.get(EnrolmentToken, row.id)
        assert kept is not None
        kept.expires_ns = time.time_ns() - 1
    assert "expired" in attempt(site, tmp_path, expired)
    row, revoked = service.enrolments.add_token(console(), "", 1)
    service.enrolments.revoke_token(console(), row.id)
    assert "revoked" in attempt(site, tmp_path, revoked)
    fingerprint = service.authority.fingerprint
    assert "not known" in attempt(site, tmp_path, f"nsde_wrong.{fingerprint}")
    assert "not whole" in attempt(site, tmp_path, "nsde_wrong")


def test_another_manager_gets_no_token(site: Site, tmp_path: Path) -> None:
    """Whoever answers in the manager's place shows another CA, and is told nothing."""
    secret = site.enrolment_token().partition(".")[0]
    other = Authority(tmp_path / "ca").fingerprint
    assert "another fingerprint" in attempt(site, tmp_path / "box", f"{secret}.{other}")
    own = f"{secret}.{site.service.authority.fingerprint}"  # it was not used up
    assert enrol(tmp_path / "box", "box", site.url, own).id


def test_a_request_that_cannot_be_signed(site: Site) -> None:
    with site.client(None) as client:
        for csr in ("nothing", make_request("x")[1].replace("A", "B", 40)):
            wanted = {"token": site.enrolment_token(), "name": "box", "csr": csr}
            answer = client.post("/enrol", json=wanted)
            assert answer.status_code == 422
            assert answer.json()["detail"].startswith("csr: ")


def test_agents_need_a_certificate_of_this_ca(site: Site, tmp_path: Path) -> None:
    one = Simulated(site, tmp_path / "one")
    bare = ssl.create_default_context(cafile=str(one.member.ca))
    with pytest.raises(httpx.TransportError):
        one.connect(bare).post("/agent/v1/reports", json={})
    stranger = Authority(tmp_path / "ca")
    key, request = make_request("x")
    certificate, _ = stranger.sign_appliance(request, one.id)
    (tmp_path / "stranger.pem").write_bytes(key + certificate.encode())
    bare.load_cert_chain(tmp_path / "stranger.pem")
    with pytest.raises(httpx.TransportError):
        one.connect(bare).post("/agent/v1/reports", json={})


def test_a_certificate_of_the_ca_alone_is_not_enough(site: Site, tmp_path: Path) -> None:
    """Signed by the CA for the same id, but not the one that was given out."""
    one = Simulated(site, tmp_path / "one")
    key, request = make_request("x")
    certificate, _ = site.service.authority.sign_appliance(request, one.id)
    (tmp_path / "other.pem").write_bytes(key + certificate.encode())
    context = ssl.create_default_context(cafile=str(one.member.ca))
    context.load_cert_chain(tmp_path / "other.pem")
    one.client = one.connect(context)
    answer = one.post([report(1)])
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:nsdata:problem:not-enrolled")


def test_a_certificate_is_renewed(site: Site, tmp_path: Path) -> None:
    """The old one is good until the new one is used, and then no more."""
    one = Simulated(site, tmp_path / "one")
    old = one.client
    key, request = make_request(one.id)
    answer = old.post(RENEW_PATH, json={"csr": request})
    assert answer.status_code == 200
    assert one.say().acked == 1
    one.member.renew(answer.text, key)
    one.client = one.connect(one.member.context())
    assert one.say().acked == 2
    one.client = old
    assert one.post([report(3)]).status_code == 403


def test_removed_it_has_to_enrol_again(site: Site, tmp_path: Path) -> None:
    one = Simulated(site, tmp_path)
    one.say()
    with site.client() as client, site.client(Role.VIEWER) as viewer:
        answer = client.delete(f"/appliances/{one.id}")
        assert (answer.status_code, answer.json()["type"]) == (
            409, "urn:nsdata:problem:still-reports")  # fmt: skip
        one.say(history=[{"kind": "transition", "row": 1, "at_ns": 5, "told": {
            "reason": "memory error", "to": "fallback", "evidence": {"rss": 7}}}])  # fmt: skip
        removed = client.delete(f"/appliances/{one.id}", params={"force": True}).json()
        assert viewer.get(f"/appliances/{one.id}").status_code == 404
        assert one.id not in viewer.get("/appliances?limit=500").text
        kept = client.get("/audit", params={"query": f"appliance.remove {one.id}"}).json()
    assert [row["id"] for row in kept["items"]] == [removed["audit_id"]]
    details = kept["items"][0]["details"]
    assert details["forced"] and details["transitions"][0]["told"]["evidence"] == {"rss": 7}
    answer = one.post([report(3)])
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:nsdata:problem:not-enrolled")
    again = Simulated(site, tmp_path)
    assert again.id != one.id
    assert again.say().acked == 1


def test_the_inactive_one_is_removed_unforced(site: Site, tmp_path: Path) -> None:
    never, once = Simulated(site, tmp_path / "never"), Simulated(site, tmp_path / "once")
    once.say()
    with site.client() as client:
        assert client.delete(f"/appliances/{never.id}").status_code == 200
        assert client.delete(f"/appliances/{once.id}").status_code == 409
        wait(lambda: client.delete(f"/appliances/{once.id}").status_code == 200, "it is gone")
        assert client.delete(f"/appliances/{once.id}").status_code == 404


def test_leaving_forgets_the_manager(site: Site, tmp_path: Path) -> None:
    site.enrol(tmp_path)
    assert leave(tmp_path) and Membership.load(tmp_path) is None
    assert not leave(tmp_path)


def test_the_name_until_it_reports(site: Site, tmp_path: Path) -> None:
    appliance = site.enrol(tmp_path, "new-one")
    with site.service.database.reading() as session:
        row = session.get(Appliance, appliance)
    assert row is not None and (row.name, row.state, row.last_seen_ns) == ("new-one", None, None)
