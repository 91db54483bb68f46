"""*All Appliances* over HTTP: parts, sorting, filters."""

import re
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from site_ import Site
from visitor import rows, visitor, words

from nsdata.fallback.reasons import Reason
from nsdata.manager.audit import Role
from nsdata.manager.tables import Appliance


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A manager of 120 appliances, of which half are in fallback and none reports now."""
    with Site(tmp_path_factory.mktemp("many")) as site:
        reasons = [one.value for one in Reason]
        with site.service.database.writing() as session:
            for i in range(120):
                session.add(
                    Appliance(
                        id=str(uuid4()),
                        name=f"box-{i:03}",
                        certificate=f"{i:064}",
                        enrolled_ns=time.time_ns(),
                        last_seen_ns=time.time_ns() - 3_600_000_000_000,
                        state="fallback" if i % 2 else "normal",
                        reason=reasons[i % 8] if i % 2 else "no error",
                        severity="Critical" if i % 2 else "Info",
                        health_score=float(i % 101),
                        bits_per_second=1e6 * i,
                        packets_per_second=1e3 * i,
                        drop_ratio=i / 120,
                        drop_threshold=0.9,
                        version="1.0" if i < 60 else "1.1",
                    )
                )
        yield site


def test_the_table_in_parts(many: Site) -> None:
    with visitor(many, Role.VIEWER) as one:
        found: list[str] = []
        at = "/appliances?sort=-bits_per_second"
        for _ in range(3):
            text = one.get(at).text
            found += rows(text)
            if after := re.search(r'id="next" rel="next" href="([^"]+)"', text):
                at = after[1].replace("&amp;", "&")
                assert "sort=-bits_per_second" in at
        assert found == [f"box-{i:03}" for i in reversed(range(120))]
        assert after is None
        assert 'id="first" href="/appliances?sort=-bits_per_second"' in text


def test_those_alike_come_by_name(many: Site) -> None:
    with visitor(many, Role.VIEWER) as one:
        for sort, first in (("-state", 0), ("state", 1)):
            text = one.get(f"/appliances?sort={sort}").text
            found = rows(text)
            after = re.search(r'id="next" rel="next" href="([^"]+)"', text)
            assert after
            found += rows(one.get(after[1].replace("&amp;", "&")).text)
            odd = [f"box-{i:03}" for i in range(1, 120, 2)]
            even = [f"box-{i:03}" for i in range(0, 120, 2)]
            assert found == ((even + odd) if first == 0 else (odd + even))[:100], sort


def test_the_table_sorted_and_filtered(many: Site) -> None:
    with visitor(many, Role.VIEWER) as one:
        text = one.get("/appliances").text
        for heading in (
            "Name", "State", "Fallback reason", "Health", "Throughput", "Drop ratio", "Version",
            "Last seen",
        ):  # fmt: skip
            assert re.search(rf"<th[^>]*><a [^>]*>{heading}", text), heading
        assert 'aria-sort="ascending"' in text and rows(text)[0] == "box-000"
        link = re.search(r'id="sort-drop_ratio" href="([^"]+)"', text)
        assert link and rows(one.get(link[1]).text)[0] == "box-119"
        assert rows(one.get("/appliances?q=box-11").text) == [f"box-{i}" for i in range(110, 120)]
        assert len(rows(one.get("/appliances?state=fallback&q=version:1.0").text)) == 30
        assert len(rows(one.get("/appliances?reason=process+error").text)) == 15
        assert rows(one.get("/appliances?severity=Critical&reporting=yes").text) == []
        assert "No appliance is like that" in one.get("/appliances?q=none-such").text
        kept = one.get("/appliances?state=fallback&q=box&reason=process+error").text
        assert "<option selected>fallback</option>" in kept and 'value="box"' in kept
        assert "120 appliances, 0 reporting, 60 in fallback" in words(kept)
        assert words(text).count("not seen for 1 h") == 50
        assert "▲ 99.2 %" in words(one.get("/appliances?q=box-119").text)
