"""Requests generated from the OpenAPI document: no 5xx, no answer that is not documented.

A short run by default; with NSDATA_FULL=1 at least 5,000 requests.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter

import pytest
import requests
import schemathesis
from agents import Simulated, transition
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from site_ import API, Site

from nsdata.appliance.protocol import ARCHIVE_PATH

CASES = 5000 if os.environ.get("NSDATA_FULL") else 300
ONE = f"{API}/appliances/{{appliance_id}}"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
pytestmark = pytest.mark.schemathesis


@pytest.fixture(scope="module")
def known(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ids that are there, so that requests get past 404."""
    one = Simulated(site, tmp_path_factory.mktemp("one"))
    one.say(history=[transition(1), transition(2)])
    with site.client() as client:
        report = client.post(f"/appliances/{one.id}/support-reports", json={}).json()["id"]
    where = {"offset": 0, "size": 2, "sha256": hashlib.sha256(b"xx").hexdigest(),
             "name": "r.tar.gz"}  # fmt: skip
    path = ARCHIVE_PATH.format(report_id=report)
    assert one.client.put(path, params=where, content=b"xx").status_code == 200
    return {"appliance_id": one.id, "report_id": report, "command_id": report}


def test_no_answer_is_undocumented(site: Site, known: dict[str, str]) -> None:
    with site.client(None) as client:
        document = client.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations()]
    told: Counter[int] = Counter()
    for operation in operations:
        told += answers(site, operation, known, -(-CASES // len(operations)))
    print(f"{told.total():,} cases of {len(operations)} operations: {dict(sorted(told.items()))}")
    assert told.total() >= CASES, told
    assert told[200] and told[202] and told[401] and told[404] and told[422], told


def answers(
    site: Site, operation: schemathesis.APIOperation, known: dict[str, str], most: int
) -> Counter[int]:
    """Statuses of so many requests of one operation."""
    seen: Counter[int] = Counter()
    removes = (operation.method.upper(), operation.path) == ("DELETE", ONE)
    bearer = {"Authorization": f"Bearer {site.token()}"}  # one of its own: it may be revoked
    with requests.Session() as session:
        session.trust_env = False
        ca = str(site.directory / "ca" / "ca.pem")

        @settings(
            max_examples=most,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        # Hypothesis prefers 0 and False: those are the requests that get far.
        @given(case=operation.as_strategy(), invented=st.booleans(), who=st.integers(0, 9))
        def run(case: schemathesis.Case, invented: bool, who: int) -> None:
            if not invented and not removes:
                case.path_parameters |= {
                    k: v for k, v in known.items() if k in case.path_parameters
                }
            case.cookies = {}
            headers = {} if who == 7 else bearer
            case.headers = {k: v for k, v in (case.headers or {}).items() if k != "Authorization"}
            answer = case.call(base_url=site.url, headers=headers, session=session, verify=ca)
            case.validate_response(answer, checks=CHECKS)
            seen[answer.status_code] += 1

        run()
        while seen.total() < most:  # an operation of few values: its requests again
            run()
    return seen
