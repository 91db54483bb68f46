"""The FPGA block of a real appliance, as somebody at its manager sees it: what it is, what its
registers hold, what it counted, what went wrong."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import httpx
from box import QUICK, ROOT, Box
from site_ import Site, ended, wait
from visitor import Visitor, words

from nsdata.manager.audit import Role
from nsdata.offload import registers as reg
from nsdata.offload.description import TOLD
from nsdata.offload.transport import open_transport

CAUSE = "SEU: the device reports an upset of its configuration"


def _cli(*given: str, token: str = "") -> str:
    command = [sys.executable, "-m", "nsdata", "appliance", *given]
    done = subprocess.run(
        command, input=token, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _report(box: Box, client: httpx.Client, appliance: str) -> dict[str, Any]:
    """`fpga.json` of a support report that is asked for at the manager."""
    asked = client.post(f"/appliances/{appliance}/support-reports", json={"destination": "local"})
    done = ended(client, asked.raise_for_status().json())
    assert done["state"] == "done", done
    (path,) = (box.directory / "reports").glob("*.tar.gz")
    with tarfile.open(path) as tar:
        part = tar.extractfile(path.name.removesuffix(".tar.gz") + "/fpga.json")
        assert part is not None
        return dict(json.loads(part.read()))


def test_a_block_is_seen_and_its_error_with_its_record(site: Site, tmp_path: Path) -> None:
    more = 'offload = "model:64"\ntesting = true'
    fresh = open_transport("model:64")  # built as the appliance's
    with Box(tmp_path, more=more, settings=QUICK) as box:
        appliance = site.enrol(box.directory)
        with site.client(Role.OPERATOR) as client:

            def told() -> dict[str, Any]:
                answer = client.get(f"/appliances/{appliance}").raise_for_status().json()
                return dict(answer["fpga"] or {})

            found = wait(
                lambda: (one := told()).get("counters", {}).get("frames_in", 0) and one, "frames"
            )
            assert (found["transport"], found["state"], found["errors"]) == (
                "model:64",
                "working",
                [],
            )
            assert found["registers"].keys() == {one.name for one in TOLD}
            for one in (reg.ID, reg.VERSION, reg.BUILD_DATAPATH, reg.BUILD_TABLES, reg.CLOCK_KHZ):
                assert found["registers"][one.name]["value"] == fresh.read(one.address)
            assert found["registers"]["status"]["fields"]["state"] == "ARMED"
            counted = found["counters"]
            fates = ("clear", "suspect", "bypass", "block", "fault")
            assert counted["frames_in"] == sum(counted[one] for one in fates)
            assert found["use"]["active"] and found["read_ns"] > 10**18

            tab = f"/appliances/{appliance}/fpga"
            operator = Visitor(site, Role.OPERATOR)
            read = words(operator.get(tab).text)
            assert "✓ working transport model:64" in read and "No error is on record" in read
            assert "magic 0x5444534e (NSDT) register map version 1.0.0" in read
            assert "id 0x000 0x5444534e magic" in read
            assert "build_tables 0x00c" in read and "buckets_log2 10" in read

            box.ask("inject", error="SEU")
            box.fallen("FPGA reported error")
            found = wait(lambda: (one := told()).get("errors") and one, "the error is told")
            (error,) = found["errors"]
            assert error["class"] == "SEU" and error["words"].startswith(CAUSE)
            assert error["at_ns"] > 10**18 and error["cycle"] > 0
            inspection = client.get(f"/appliances/{appliance}/inspection").json()
            assert inspection["reason"] in ("FPGA reported error", "no error")  # it comes back
            read = words(operator.get(tab).text)
            assert f"✕ SEU {CAUSE}" in read and f"{error['cycle']:,}" in read
            assert CAUSE in _cli("status", str(box.directory))
            ca = site.directory / "ca" / "ca.pem"
            shown = _cli(
                "show", appliance, "--manager", site.url, "--token-file", "-", "--ca", str(ca),
                token=site.token(Role.VIEWER),
            )  # fmt: skip
            assert "FPGA (model:64)" in shown and CAUSE in shown

            box.restored()
            found = wait(
                lambda: (
                    (one := told())["errors"][0]["over_ns"]
                    and one["state"] == "working"
                    and one["use"]["recoveries"]
                    and one["registers"]["status"]["fields"]["state"] == "ARMED"
                    and one
                ),
                "it is over",
            )
            kept = _report(box, client, appliance)
            assert kept["transport"] == "model:64" and kept["state"] == "working"
            assert kept["identity"] == found["identity"] and kept["counters"]["frames_in"] > 0
            assert kept["registers"]["id"]["value"] == reg.ID["magic"].reset
            (record,) = kept["errors"]
            assert record["words"] == error["words"]
            then = record["registers"]  # at the moment of the error, decoded
            assert then["status"]["fields"]["state"] == "FAULT"
            assert then["err_status"]["fields"]["seu"] == 1
            assert then["first_cycle.lo"]["value"] == error["cycle"] & 0xFFFFFFFF


def test_the_golden_model_has_none_and_says_so(tmp_path: Path) -> None:
    with Box(tmp_path, more='offload = "model"') as box:
        told = box.wait(
            lambda one: one["fpga"].get("use", {}).get("verdicts", {}).get("clear"), "verdicts"
        )["fpga"]
        assert told["state"] == "working" and "registers" not in told
        assert told["note"] == "the golden model has no registers"
