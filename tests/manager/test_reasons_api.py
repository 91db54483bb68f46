"""The eight reasons as a program is told them, against the words of the products' own table."""

import pytest
from site_ import Site
from visitor import Prepared

from nsdata.fallback.reasons import Reason, State, about
from nsdata.manager.audit import Role

# reason: (words of the cause, severity, words of what the operator is told to do)
TABLE = {
    "FPGA reported error": ("FPGA has reported an error", "Critical", "support report"),
    "heartbeat error": ("processes are unresponsive", "Critical", "support report"),
    "low health score error": ("low critical threshold", "Critical", "support report"),
    "memory error": ("passed the maximum", "Critical", "support report"),
    "no error": ("into fallback by hand", "Info", "restore to normal"),
    "process error": ("crashed and cannot be recovered", "Critical", "support report"),
    "threshold error": ("90 % of all packets received", "Critical", "no longer over-subscribed"),
    "unknown": ("unknown error", "Warning", "support report"),
}


@pytest.fixture(scope="module")
def prepared(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(site, tmp_path_factory.mktemp("edge"), "edge")


def test_each_with_cause_severity_and_resolution(site: Site, prepared: Prepared) -> None:
    at = f"/appliances/{prepared.id}"
    assert {one.value for one in Reason} == TABLE.keys()
    with site.client(Role.VIEWER) as client:
        for name, (cause, severity, resolution) in TABLE.items():
            told = about(Reason(name), State.FALLBACK)
            said = {"cause": told.cause, "resolution": told.resolution}
            prepared.send(prepared.told(Reason(name), "fallback", **said))
            found = client.get(f"{at}/inspection").json()
            assert (found["state"], found["reason"]) == ("bypass", name)
            assert found["severity"] == severity and cause in found["cause"]
            assert resolution in found["resolution"].lower()
            listed = client.get("/appliances", params={"query": f"reason:{name}"}).json()["items"]
            assert [one["severity"] for one in listed] == [severity]
        normal = about(Reason.NO_ERROR, State.NORMAL)
        said = {"cause": normal.cause, "resolution": normal.resolution}
        prepared.send(prepared.told(**said))
        found = client.get(f"{at}/inspection").json()
        assert (found["state"], found["reason"]) == ("inspect", "no error")
        assert found["severity"] == "Info"
        assert (found["cause"], found["resolution"]) == ("Inspecting.", "Nothing to do.")
    prepared.client.close()
