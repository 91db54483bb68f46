"""One appliance says what cannot be stored: it alone is refused, or it is stored as it can be."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from agents import Simulated, report
from site_ import Site

from nsdata.appliance.protocol import BIGGEST, REPORTS_PATH, Batch
from nsdata.manager.audit import Role
from nsdata.manager.database import Database
from nsdata.manager.ingest import Ingest
from nsdata.manager.problems import Problem
from nsdata.manager.tables import Appliance

SECOND = 10**9
HUGE = "1" + "0" * 400
BEGIN = 1_700_000_040 * SECOND  # a whole minute


def send(one: Simulated, reports: list[dict[str, Any]], raw: str = "null", **more: Any) -> int:
    """The status of a batch in which "RAW" is written as `raw`."""
    text = json.dumps({"boot": str(uuid4()), "reports": reports, **more}).replace('"RAW"', raw)
    return one.client.post(
        REPORTS_PATH, content=text, headers={"content-type": "application/json"}
    ).status_code


def event(raw: str, row: int = 1) -> dict[str, Any]:
    return {"kind": "event", "row": row, "at_ns": 1, "told": {"event": raw, "value": "RAW"}}


def overflowing(begin: int) -> list[dict[str, Any]]:
    """Four reports of a second, then four of the next, whose packets are beyond 64 bit together;
    and one of the next minute."""
    times = [begin + second * SECOND + n for second in (0, 1) for n in range(4)]
    return [
        report(n + 1, at_ns, (n % 2) * BIGGEST)
        for n, at_ns in enumerate([*times, begin + 60 * SECOND])
    ]


@pytest.mark.parametrize(
    ("status", "reports", "more"),
    [
        (200, [report(1, health={"score": "RAW"})], {"raw": HUGE}),
        (200, [report(1, health={"score": "RAW"})], {"raw": "-1e999"}),
        (200, [report(1, processes={"x\0": {"y": ["a\0b", "RAW"]}})], {"raw": HUGE}),
        (422, [report(1, version="a\0b")], {}),
        (422, [report(1, reason="a\nb")], {}),
        (422, [report(1, at_ns=1 << 63)], {}),
        (200, [report(1, cause="a\0b")], {}),
        (200, overflowing(BEGIN), {}),
        (200, [report(1, BIGGEST - 60 * SECOND), report(2, BIGGEST)], {}),
        (200, [], {"history": [event("a\0b")], "raw": HUGE}),
        (200, [], {"history": [event("nan", 2)], "raw": "NaN"}),
        (422, [report(1, support={"allow": 5})], {}),
        (422, [report(1, support={"allow": [["10.0.0.0/8"]]})], {}),
    ],
)
def test_others_go_on(either_site: Site, tmp_path: Path, status: int, reports: Any,
                      more: Any) -> None:  # fmt: skip
    good, odd = Simulated(either_site, tmp_path / "g"), Simulated(either_site, tmp_path / "o")
    with ThreadPoolExecutor(1) as others, either_site.client(Role.OPERATOR) as client:
        said = others.submit(lambda: [good.say().acked for _ in range(5)])
        assert {send(odd, reports, **more) for _ in range(3)} == {status}
        assert said.result() == [1, 2, 3, 4, 5]
        assert client.get("/about").json()["failing"] == ""
        for page in ("", "/events", "/samples", "/samples?step=minute"):
            answer = client.get(f"/appliances/{odd.id}{page}")
            assert answer.status_code == 200, answer.text
        answer = client.post(
            f"/appliances/{odd.id}/support-reports",
            json={"destination": "custom", "url": f"https://files.example/{odd.id}.tar.gz"},
        )
        assert answer.status_code == 202, answer.text


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_one_that_cannot_be_stored_is_found(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Past the bounds of the protocol, in a group with others."""
    url = f"sqlite:///{tmp_path}/m.db"
    if database == "postgresql":
        url = request.getfixturevalue("postgres_url")
    store, told = Database(url), []
    ids = [str(uuid4()) for _ in range(9)]
    with store.writing() as session:
        for one in ids:
            session.add(Appliance(id=one, name="x", certificate="c", enrolled_ns=1))
    ingest = Ingest(store, lambda *what: told.append(what), lambda *report: False)
    batches = [Batch(boot=UUID(one), reports=[report(1)]) for one in ids]
    first = batches[4].reports[0]
    ledger = {"received": {"packets": 1, "bytes": "x"}, "inspected": []}
    wrong = first.model_copy(update={"sequence": 1 << 70, "ledger": ledger})
    batches[4] = batches[4].model_copy(update={"reports": [wrong]})
    futures = [ingest.submit(one, "c", batch) for one, batch in zip(ids, batches, strict=True)]
    ingest.start()
    found = [future.exception(30) for future in futures]
    ingest.stop()
    store.close()
    problem = found.pop(4)
    assert isinstance(problem, Problem) and problem.status == 422
    assert found == [None] * 8 and told == []
    assert ingest.stored == 8
