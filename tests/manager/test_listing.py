"""Lists: in parts, sorted, searched, over both databases; nothing is skipped or told twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from agents import Simulated, report, transition
from site_ import Site

from nsdata.manager.audit import Role

NAMES = ("alpha", "beta", "beta", "gamma_1", "gammax1", "never")
SORTS = ("name", "state", "reason", "severity", "health_score", "packets_per_second",
         "bits_per_second", "drop_ratio", "version", "last_seen_ns", "enrolled_ns")  # fmt: skip


@pytest.fixture(scope="module")
def client(either_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    base: Path = tmp_path_factory.mktemp("many")
    for number, name in enumerate(NAMES):
        one = Simulated(either_site, base / str(number), name)
        if name == "never":
            continue
        more = {"state": "fallback", "reason": "memory error", "severity": "Critical"}
        one.post([
            report(1, name=name, version=f"1.{number}", drop_ratio=number / 10,
                   health={"score": 100 - 10 * number}, **(more if number % 2 else {}))
        ])  # fmt: skip
        if number == 0:
            one.post(history=[transition(n, "memory error" if n % 2 else "unknown")
                              for n in range(1, 8)])  # fmt: skip
    with either_site.client(Role.VIEWER) as found:
        yield found


def everything(client: httpx.Client, path: str, **query: object) -> list[dict[str, object]]:
    """All parts."""
    found, cursor = [], None
    for _ in range(50):
        more = {} if cursor is None else {"cursor": cursor}
        page = client.get(path, params={**query, **more}).raise_for_status().json()  # type: ignore[dict-item]
        assert len(page["items"]) <= int(str(query.get("limit", 50)))
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found
    raise AssertionError("it has no end")


@pytest.mark.parametrize("sort", [*SORTS, *(f"-{name}" for name in SORTS)])
def test_parts_are_the_whole(client: httpx.Client, sort: str) -> None:
    whole = everything(client, "/appliances", sort=sort, limit=500)
    parts = everything(client, "/appliances", sort=sort, limit=2)
    assert [one["id"] for one in parts] == [one["id"] for one in whole]
    assert len(whole) == len(NAMES)
    values = [one[sort.removeprefix("-")] for one in whole]
    told = [value for value in values if value is not None]
    assert told == sorted(told, reverse=sort.startswith("-"))  # type: ignore[type-var]
    if None in values:  # what was never told is least
        assert values.index(None) == (len(told) if sort.startswith("-") else 0)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("beta", ["beta", "beta"]),
        ("BETA fallback", ["beta"]),
        ("state:fallback", ["beta", "gamma_1"]),
        ("name:gamma_1", ["gamma_1"]),  # _ is no wild card
        ("version:1.4", ["gammax1"]),
        ("100%", []),
        ("state:alpha", []),
        ("odd:beta", []),
        ("", list(NAMES)),
    ],
)
def test_query(client: httpx.Client, query: str, names: list[str]) -> None:
    assert [one["name"] for one in everything(client, "/appliances", query=query)] == names


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"state": ["fallback"]}, ["beta", "gamma_1"]),
        ({"health_below": 75}, ["gamma_1", "gammax1"]),
        ({"drop_ratio_above": 0.1}, ["beta", "gamma_1", "gammax1"]),
        ({"severity": ["Critical"], "text": "gamma"}, ["gamma_1"]),
        ({"version": ["1.0", "1.1"], "reason": ["no error"]}, ["alpha"]),
        ({"connected": False, "text": "never"}, ["never"]),
    ],
)
def test_search(client: httpx.Client, wanted: dict[str, object], names: list[str]) -> None:
    answer = client.post("/appliances/search", json=wanted).raise_for_status().json()
    assert [one["name"] for one in answer["items"]] == names


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "W251bGwsIDFd", "W25hbiwgIngiXQ", "{}", "é"])
def test_a_cursor_that_is_none(client: httpx.Client, cursor: str) -> None:
    for path in ("/appliances", "/appliances?sort=health_score"):
        answer = client.get(path, params={"sort": path.partition("=")[2] or "name",
                                          "cursor": cursor})  # fmt: skip
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:nsdata:problem:cursor")


def test_a_sort_that_is_none(client: httpx.Client) -> None:
    for sort in ("certificate", "--name", "name;"):
        answer = client.get("/appliances", params={"sort": sort})
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("sort: legal are name, state")


def test_history_in_parts(client: httpx.Client) -> None:
    (one,) = client.get("/appliances?query=alpha").json()["items"]
    path = f"/appliances/{one['id']}/transitions"
    parts = everything(client, path, limit=2)
    assert [row["told"]["evidence"]["row"] for row in parts] == [7, 6, 5, 4, 3, 2, 1]  # type: ignore[index]
    found = everything(client, path, limit=3, query="memory")
    assert [row["subject"] for row in found] == ["memory error"] * 4
