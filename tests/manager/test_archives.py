"""Archives of support reports at the manager: sent in pieces over mutual TLS, kept, downloaded."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from proxy import Wire
from site_ import Site, wait
from test_commands import nsdata
from test_orders import Asked, orders_in
from visitor import Prepared, visitor

from nsdata.appliance.agent import delivery as delivery_module
from nsdata.appliance.agent.delivery import Delivery
from nsdata.appliance.agent.membership import Membership
from nsdata.appliance.agent.orders import Orders
from nsdata.appliance.protocol import ARCHIVE_PATH, PIECE, Command
from nsdata.cli import remote as afar
from nsdata.errors import EngineError, NsdataError, SettingError
from nsdata.manager.audit import Role

LIMITS = 'report-keep = 2\nreport-size = "4mb"\nreport-reserve = "0"'
DATA = random.Random(9).randbytes(2 * PIECE + PIECE // 2)  # what gzip made is not smaller, either
NAME = "nsdata-support-edge-20261123T034748Z-0a1b2c3d.tar.gz"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A manager that keeps little."""
    with Site(tmp_path_factory.mktemp("site"), more=LIMITS) as found:
        yield found


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[httpx.Client]:
    with site.client(Role.OPERATOR) as found:
        yield found


@pytest.fixture
def prepared(site: Site, tmp_path: Path) -> Iterator[Prepared]:
    made = Prepared(site, tmp_path / "edge", f"edge-{uuid4().hex[:6]}")
    made.send(made.told())
    yield made
    made.client.close()


def ask(client: httpx.Client, prepared: Prepared, **wanted: Any) -> str:
    """A support report; its id."""
    answer = client.post(f"/appliances/{prepared.id}/support-reports", json=wanted)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def put(prepared: Prepared, report: str, offset: int, data: bytes, whole: bytes = DATA,
        **more: Any) -> httpx.Response:  # fmt: skip
    """A piece, as the agent sends it."""
    where = {"offset": offset, "size": len(whole), "sha256": digest(whole), "name": NAME, **more}
    return prepared.client.put(ARCHIVE_PATH.format(report_id=report), params=where, content=data)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def over(prepared: Prepared, report: str, outcome: str = "done", **more: Any) -> None:
    prepared.send(prepared.told(), results=[prepared.result({"id": report}, outcome, **more)])


def folder(site: Site, prepared: Prepared) -> Path:
    return site.directory / "support-reports" / prepared.id


def test_in_pieces(site: Site, client: httpx.Client, prepared: Prepared) -> None:
    report = ask(client, prepared)
    at = f"/appliances/{prepared.id}/support-reports/{report}"
    assert put(prepared, report, 0, b"").json() == {"received": 0}
    assert put(prepared, report, 0, DATA[:PIECE]).json() == {"received": PIECE}
    again = put(prepared, report, 0, DATA[:PIECE])  # its answer was lost
    assert (again.status_code, again.json()["received"]) == (409, PIECE)
    assert put(prepared, report, 99, b"").json() == {"received": PIECE}
    assert client.get(f"{at}/archive").status_code == 404, "half of it is nothing"
    assert client.get(at).json()["archive"] is None
    put(prepared, report, PIECE, DATA[PIECE : 2 * PIECE])
    assert put(prepared, report, 2 * PIECE, DATA[2 * PIECE :]).json() == {"received": len(DATA)}
    assert put(prepared, report, 0, b"").json() == {"received": len(DATA)}, "it stays whole"
    found = client.get(f"{at}/archive")
    assert found.content == DATA
    assert found.headers["content-type"] == "application/gzip"
    assert found.headers["content-disposition"] == f'attachment; filename="{NAME}"'
    assert found.headers["cache-control"] == "no-store"
    sha256 = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
    assert found.headers["repr-digest"] == f"sha-256=:{sha256}:"
    told = client.get(at).json()["archive"]
    assert (told["file_name"], told["size"], told["sha256"]) == (NAME, len(DATA), digest(DATA))
    listed = client.get(f"/appliances/{prepared.id}/support-reports").json()["items"]
    assert [one["archive"] for one in listed] == [told]
    for file in folder(site, prepared).iterdir():
        assert file.stat().st_mode & 0o77 == 0, "it holds evidence"
    with site.client(Role.VIEWER) as viewer:
        assert viewer.get(at).json()["archive"] == told
        assert viewer.get(f"{at}/archive").status_code == 403
        assert viewer.delete(f"{at}/archive").status_code == 403
    assert client.get(f"/appliances/{uuid4()}/support-reports/{report}/archive").status_code == 404
    assert client.delete(f"{at}/archive").status_code == 204
    assert client.delete(f"{at}/archive").status_code == 404
    assert client.get(f"{at}/archive").status_code == 404
    assert list(folder(site, prepared).iterdir()) == []
    with site.client() as admin:
        rows = admin.get("/audit", params={"query": prepared.id}).json()["items"]
    assert [one["action"] for one in rows[:2]] == [
        "support-report.remove", "support-report.download"]  # fmt: skip
    assert rows[0]["details"] == {"file_name": NAME, "sha256": digest(DATA)}


def test_what_is_not_taken(site: Site, client: httpx.Client, prepared: Prepared,
                           tmp_path: Path) -> None:  # fmt: skip
    report = ask(client, prepared)
    large = put(prepared, report, 0, b"x", size=(4 << 20) + 1)
    assert large.status_code == 413 and "report-size of the manager" in large.text
    assert put(prepared, report, 0, DATA[:9], DATA[:8]).status_code == 422
    for name in ("../../x.tar.gz", "x.zip", "a b.tar.gz", '".tar.gz', ".hidden.tar.gz"):
        assert put(prepared, report, 0, b"x", name=name).status_code == 422, name
    assert put(prepared, report, 0, b"x", sha256="../../../x").status_code == 422
    assert put(prepared, report, -1, b"x").status_code == 422
    assert put(prepared, str(uuid4()), 0, b"x").status_code == 404
    assert put(prepared, "x", 0, b"x").status_code == 404
    other = Prepared(site, tmp_path / "other", "other")
    assert put(other, report, 0, b"x").status_code == 404
    other.client.close()
    assert prepared.client.put(ARCHIVE_PATH.format(report_id=report)).status_code == 422
    spoilt = put(prepared, report, 0, b"yy", b"xx")
    assert spoilt.status_code == 422 and "SHA-256" in spoilt.text
    assert list(folder(site, prepared).iterdir()) == []
    put(prepared, report, 0, DATA[:9])
    over(prepared, report, "failed", error="cancelled")
    refused = put(prepared, report, 9, DATA[9:99])
    assert refused.status_code == 409 and "it has failed" in refused.text
    elsewhere = put(prepared, ask(client, prepared, destination="local"), 0, b"x")
    assert elsewhere.status_code == 409 and "goes elsewhere" in elsewhere.text
    assert len(list(folder(site, prepared).iterdir())) == 1
    site.service.reports.tidy()
    assert list(folder(site, prepared).iterdir()) == [], "the rest of one that is over goes"


def test_the_newest_stay_and_the_old_go(
    site: Site, client: httpx.Client, prepared: Prepared
) -> None:
    reports = []
    for number in range(3):
        whole = bytes([number]) * 100
        reports.append(ask(client, prepared))
        assert put(prepared, reports[-1], 0, whole, whole).status_code == 200
        over(prepared, reports[-1])
    listed = client.get(f"/appliances/{prepared.id}/support-reports").json()["items"]
    assert [one["id"] for one in listed if one["archive"]] == reports[:0:-1]
    site.service.reports.tidy()
    assert len(list(folder(site, prepared).glob("*.tar.gz"))) == 2
    about = folder(site, prepared) / f"{reports[1]}.json"
    about.write_text(about.read_text().replace('"kept_ns":', '"kept_ns":1,"then":'))
    site.service.reports.tidy()
    assert [one.name for one in folder(site, prepared).glob("*.tar.gz")] == [f"{reports[2]}.tar.gz"]


def test_they_go_with_their_appliance(
    site: Site, client: httpx.Client, prepared: Prepared
) -> None:
    report = ask(client, prepared)
    put(prepared, report, 0, DATA[:50], DATA[:50])
    with site.client() as admin:
        removed = admin.delete(f"/appliances/{prepared.id}", params={"force": True}).json()
        row = admin.get("/audit", params={"query": prepared.id}).json()["items"][0]
    assert row["id"] == removed["audit_id"]
    kept = row["details"]["support_reports"]
    assert [(one["file_name"], one["sha256"]) for one in kept] == [(NAME, digest(DATA[:50]))]
    assert not folder(site, prepared).exists()
    assert put(prepared, report, 0, b"x").status_code == 403
    folder(site, prepared).mkdir()  # as one that came at that very instant
    site.service.reports.tidy()
    assert not folder(site, prepared).exists()


def test_by_the_command_line(
    site: Site, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the report and fetches it; a file that is there is not replaced."""
    out = tmp_path / "out" / "r.tar.gz"
    out.parent.mkdir()
    access = ("--manager", site.url, "--ca", str(site.directory / "ca" / "ca.pem"))
    verb = ("appliance", "report", prepared.id, *access, "-o", str(out))
    token = site.token(Role.OPERATOR)
    with ThreadPoolExecutor() as pool:
        said = pool.submit(nsdata, *verb, NSDATA_TOKEN=token)
        report = prepared.asked()["id"]
        put(prepared, report, 0, DATA[:99], DATA[:99])
        over(prepared, report)
        told = said.result()
    assert "support-report: done\n" in told and f"SHA-256 {digest(DATA[:99])})" in told
    assert out.read_bytes() == DATA[:99] and list(out.parent.iterdir()) == [out]
    assert out.stat().st_mode & 0o77 == 0
    monkeypatch.setenv("NSDATA_TOKEN", token)
    remote = afar.Remote(site.url, None, site.directory / "ca" / "ca.pem")
    with pytest.raises(SettingError, match="is there already"):
        afar.report(remote, prepared.id, "", False, True, out)
    path = f"/appliances/{prepared.id}/support-reports/{report}/archive"
    about = folder(site, prepared) / f"{report}.json"
    about.write_text(about.read_text().replace(digest(DATA[:99]), digest(b"other")))
    with pytest.raises(EngineError, match="another SHA-256"):
        remote.fetch(path, out.with_name("other.tar.gz"))
    assert list(out.parent.iterdir()) == [out]
    with pytest.raises(NsdataError, match="no such archive"):
        remote.fetch(path.replace(report, ask(remote.client, prepared)), out.with_name("none"))


# --- the agent's end ------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / NAME
    file.write_bytes(DATA)
    return file


def deliver(tmp_path: Path, report: str, file: Path) -> Delivery:
    made = Delivery(tmp_path / "edge", UUID(report), file, len(DATA), digest(DATA))
    made.start()
    return made


def end(delivery: Delivery) -> str:
    """Why it was not delivered."""
    wait(lambda: delivery.over, "it is over", lambda: delivery.failing)
    return delivery.error


def test_it_goes_on_after_lost_connections(
    site: Site, client: httpx.Client, prepared: Prepared, archive: Path, tmp_path: Path
) -> None:
    report = ask(client, prepared)
    member = Membership.load(tmp_path / "edge")
    assert member is not None
    wire = Wire(int(site.agents_url.rpartition(":")[2]))
    member.moved(f"https://127.0.0.1:{wire.port}")
    wire.cut_after_request = 3
    delivery = deliver(tmp_path, report, archive)
    assert end(delivery) == ""
    assert wire.cuts == 3 and wire.cut_after_request == 0
    assert client.get(f"/appliances/{prepared.id}/support-reports/{report}/archive").content == DATA
    wire.close()


def test_it_goes_on_at_another_start_of_both(
    client: httpx.Client, prepared: Prepared, archive: Path, tmp_path: Path, site: Site
) -> None:
    report = ask(client, prepared)
    assert put(prepared, report, 0, DATA[:PIECE]).status_code == 200
    site.kill()
    delivery = deliver(tmp_path, report, archive)
    wait(lambda: delivery.failing, "the manager is away")
    site.start()
    assert end(delivery) == ""
    found = client.get(f"/appliances/{prepared.id}/support-reports/{report}").json()
    assert found["archive"]["sha256"] == digest(DATA)


def test_what_has_come_was_spoilt(
    site: Site, client: httpx.Client, prepared: Prepared, archive: Path, tmp_path: Path
) -> None:
    report = ask(client, prepared)
    put(prepared, report, 0, DATA[:PIECE])
    (part,) = folder(site, prepared).glob(".*.part")
    part.write_bytes(bytes(PIECE))  # as a loss of power may leave it
    assert end(deliver(tmp_path, report, archive)) == ""
    assert client.get(f"/appliances/{prepared.id}/support-reports/{report}/archive").content == DATA


def test_one_that_is_not_wanted_any_more(
    site: Site, client: httpx.Client, prepared: Prepared, archive: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    report = ask(client, prepared)
    monkeypatch.setattr(delivery_module, "PIECE", 1)
    delivery = deliver(tmp_path, report, archive)
    wait(lambda: delivery.received, "it has begun")
    delivery.stop()
    assert end(delivery) == "it was cancelled"
    assert list(folder(site, prepared).iterdir()) == []


def test_a_command_of_the_manager(
    client: httpx.Client, prepared: Prepared, archive: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The report is made, sent, and over when the manager has it; also of an agent that ended while
    it was made; and ended by a command while it is sent."""
    (tmp_path / "edge").mkdir(exist_ok=True)
    asked = Asked(tmp_path / "edge")
    made = {"location": str(archive), "size": len(DATA), "sha256": digest(DATA), "error": ""}
    try:
        orders = orders_in(tmp_path / "edge")
        command = Command.model_validate(
            {"id": ask(client, prepared), "kind": "support-report",
             "parameters": {"destination": "manager", "by": "user:anna"}})  # fmt: skip
        told = {"id": str(command.id), "state": "collecting", "progress": 0.5}
        asked.answers = {"report": told, "report-status": told}
        orders.carry_out(command)
        (result,) = orders.results(9)
        assert (result.outcome, result.progress) == ("running", 0.25)
        orders = orders_in(tmp_path / "edge")
        orders.resume()
        asked.answers["report-status"] = {**told, **made, "state": "done", "progress": 1.0}
        result = wait(lambda: _over(orders), "it is over")
        assert (result.outcome, result.error) == ("done", "")
        at = f"/appliances/{prepared.id}/support-reports"
        assert client.get(f"{at}/{command.id}").json()["archive"]["sha256"] == digest(DATA)
        orders.told([result])
        over(prepared, str(command.id))

        monkeypatch.setattr(delivery_module, "PIECE", 1)
        second = command.model_copy(update={"id": UUID(ask(client, prepared))})
        told["id"] = str(second.id)
        asked.answers["report"] = {**told, **made, "state": "done", "progress": 1.0}
        orders.carry_out(second)
        result = wait(lambda: next((r for r in orders.results(9) if r.progress > 0.5), None), "on")
        assert (result.outcome, result.told["doing"]) == ("running", "to the manager")
        stop = Command.model_validate({"id": uuid4(), "kind": "stop-report",
                                       "parameters": {"report": str(second.id)}})  # fmt: skip
        orders.carry_out(stop)
        wait(lambda: orders.results(9) and not orders.running, "both are over")
        ends = {one.id: one for one in orders.results(9)}
        assert ends[stop.id].outcome == "done" and ends[second.id].outcome == "failed"
        assert ends[second.id].error == (
            f"it was cancelled; the report is kept in {archive} of the appliance")  # fmt: skip
        assert "report-cancel" not in [one["command"] for one in asked.messages]
    finally:
        asked.close()


def _over(orders: Orders) -> Any:
    return next((one for one in orders.results(9) if one.outcome != "running"), None)


def test_a_file_that_is_gone(client: httpx.Client, prepared: Prepared, tmp_path: Path) -> None:
    assert "No such file" in end(deliver(tmp_path, ask(client, prepared), tmp_path / NAME))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_a_full_disk_is_said_and_nothing_is_left(
    site: Site, client: httpx.Client, prepared: Prepared, archive: Path, tmp_path: Path
) -> None:
    report = ask(client, prepared)
    small = folder(site, prepared)
    small.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "none", small]).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        said = end(deliver(tmp_path, report, archive))
        assert "cannot keep the archive: No space left" in said and "(507)" in said
        assert list(small.iterdir()) == []
        over(prepared, report, "failed", error=said)
        fits = ask(client, prepared)
        assert put(prepared, fits, 0, DATA[:PIECE]).status_code == 507  # all of it has to fit
        assert put(prepared, fits, 0, DATA[:99], DATA[:99]).status_code == 200
    finally:
        subprocess.run(["umount", "-l", small], check=False)
    with visitor(site, Role.OPERATOR) as operator:
        assert "No space left" in operator.get(f"/appliances/{prepared.id}").text
