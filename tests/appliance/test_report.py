"""Support reports of a running appliance: what is in them, what never is, and where they go."""

import base64
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from box import PATIENCE_S, ROOT, Box, balances

from nsdata import __version__
from nsdata.capture import open_capture
from nsdata.errors import EngineError, SettingError

sys.path.insert(0, str(ROOT / "tests" / "support"))
from servers import answer, hang, serve, slow

LOCAL = 'allow = ["127.0.0.0/8"]\ntimeout = "2s"\nback-off = "50ms"\n'
PARTS = [
    "versions.json", "settings.json", "status.json", "health.json", "figures.json",
    "processes.json", "rules.json", "fpga.json", "transitions.jsonl", "events.jsonl",
    "counters.jsonl", "appliance.log", "eve.json", "manifest.json",
]  # fmt: skip
ENDED = ("done", "failed", "cancelled")


def made(box: Box, state: str = "done", **order: Any) -> dict[str, Any]:
    """A report, once it is over."""
    return ended(box, box.ask("report", by="a test", **order)["id"], state)


def ended(box: Box, number: str, state: str = "done") -> dict[str, Any]:
    told = following(box, number, lambda t: t["state"] in ENDED)
    assert told["state"] == state, told
    return told


def following(box: Box, number: str, true: Any) -> dict[str, Any]:
    end = time.monotonic() + 2 * PATIENCE_S
    while time.monotonic() < end:
        told = box.ask("report-status", id=number)
        if true(told):
            return told
        time.sleep(0.02)
    raise AssertionError(f"never: {told}")


def without_surprise(box: Box) -> None:
    """Nothing went wrong in the supervisor's own part of it."""
    kinds = [event["event"] for event in box.events("appliance")]
    assert "support report ended" in kinds
    assert not {"support report failed", "reporter failed"} & set(kinds)


def contents(path: str) -> dict[str, bytes]:
    """The parts of an archive by name, in its order; the manifest is right about each."""
    found = {}
    with tarfile.open(path) as tar:
        for member in tar:
            assert member.isfile() and (member.uid, member.gid, member.mode) == (0, 0, 0o600)
            folder, name = member.name.split("/")
            assert folder == Path(path).name.removesuffix(".tar.gz") or "out" in path
            data = tar.extractfile(member)
            assert data is not None
            found[name] = data.read()
    manifest = json.loads(found["manifest.json"])
    assert [part["name"] for part in manifest["parts"]] == list(found)[:-1]
    for part in manifest["parts"]:
        data = found[part["name"]]
        assert part["size"] == len(data)
        assert part["sha256"] == hashlib.sha256(data).hexdigest()
    return found


def test_what_is_in_it(tmp_path: Path) -> None:
    with Box(tmp_path, more='offload = "model:64"\n') as box:
        box.alerts()
        box.ask("fallback", note="for the record")
        box.ask("restore")
        box.inspects()
        told = made(box)
        path = Path(told["location"])
        assert path.parent == box.directory / "reports" and path.stat().st_mode & 0o777 == 0o600
        assert path.name.startswith("nsdata-support-box-20") and path.name == told["file_name"]
        data = path.read_bytes()
        assert told["size"] == len(data)
        assert told["sha256"] == hashlib.sha256(data).hexdigest()
        found = contents(told["location"])
        assert list(found) == PARTS
        manifest = json.loads(found["manifest.json"])
        assert manifest["lacking"] == [] and manifest["report"] == told["id"]
        assert manifest["by"] == "a test" and manifest["packets"] is False
        versions = json.loads(found["versions.json"])
        assert versions["nsdata"] == __version__ and "numpy" in versions["libraries"]
        assert versions["kernel"]["release"] == os.uname().release
        settings = json.loads(found["settings.json"])
        assert settings["running"]["source"]["rate"] == settings["file"]["source"]["rate"] == 5000
        assert any(row["name"] == "drop-meter.threshold" for row in settings["options"])
        status = json.loads(found["status.json"])
        assert status["state"] == "normal"
        balances(status["ledger"])
        assert json.loads(found["health.json"])["score"] > 0
        figures = json.loads(found["figures.json"])
        assert figures["port"]["forwarded_packets"] > 0 and figures["worker-0"]["rules"] == 1
        processes = {one["name"]: one for one in json.loads(found["processes.json"])["processes"]}
        assert {"supervisor", "port", "worker-0", "writer"} <= processes.keys()
        assert processes["worker-0"]["rss_bytes"] > 1 << 20
        rules = json.loads(found["rules.json"])
        (file,) = rules["files"]
        assert file["sha256"] == hashlib.sha256(box.rules.read_bytes()).hexdigest()
        assert file["size"] == box.rules.stat().st_size
        assert rules["loaded"]["worker-0"] == {"rules": 1, "refused": 0}
        fpga = json.loads(found["fpga.json"])
        assert fpga["identity"]["version"] == "1.0.0" and fpga["errors"] == []
        assert fpga["registers"]["id"]["value"] == 0x5444534E
        entered, restored = (json.loads(line) for line in found["transitions.jsonl"].splitlines())
        assert entered["evidence"]["given"]["note"] == "for the record"
        assert restored["outcome"] == "restored"
        events = [json.loads(line)["event"] for line in found["events.jsonl"].splitlines()]
        assert "appliance started" in events and "support report begun" in events
        for line in found["counters.jsonl"].splitlines():
            balances(json.loads(line)["ledger"])
        kinds = {json.loads(line)["event_type"] for line in found["eve.json"].splitlines()}
        assert {"alert", "fallback"} <= kinds
        assert not list(path.parent.glob(".*"))
    without_surprise(box)


SECRETS = {
    "settings": "planted-in-the-settings", "url": "planted-in-a-url", "file": "planted-in-a-file",
    "rule": "planted-in-a-rule", "log": "planted-in-the-log", "note": "planted-in-a-note",
    "short": "pl4nt",
}  # fmt: skip


def test_what_never_is(tmp_path: Path) -> None:
    """Planted secrets are in no byte of it, in no dress, compressed or not."""
    (tmp_path / "token.secret").write_text(SECRETS["file"] + "\n")
    with Box(tmp_path, rules=f'alert tcp any any -> any any (msg:"password={SECRETS["rule"]}"; '
             'flags:S; sid:1;)\n', settings='"outputs.eve.payload" = true\n'
             '"outputs.eve.packet" = true\n',
             more=f'[support.vendor]\nurl = "https://v.example/in?token={SECRETS["settings"]}"\n'
             f'latest = "https://v.example/l?key={SECRETS["short"]}"\n') as box:  # fmt: skip
        # The file as it is now: other readers' keys, as a later version may have them.
        with open(box.config, "a") as file:
            file.write(f'[notify]\npassword = "{SECRETS["settings"]}"\n'
                       f'url = "https://me:{SECRETS["url"]}@hooks.example/x"\n'
                       'token-file = "token.secret"\n')  # fmt: skip
        with open(box.directory / "appliance.log", "a") as log:
            log.write(f"Authorization: Bearer {SECRETS['log']}\nsaid {SECRETS['file']} and "
                      f"{base64.b64encode(SECRETS['settings'].encode()).decode()} and "
                      f"{SECRETS['url']}\n")  # fmt: skip
        box.alerts()
        box.ask("fallback", note=f"api_key={SECRETS['note']} {SECRETS['settings']}")
        box.ask("restore")
        box.inspects()
        told = made(box, to=None)
        found = contents(told["location"])
        archive = Path(told["location"]).read_bytes()
    everything = [archive, gzip.decompress(archive), *found.values()]
    for name, secret in SECRETS.items():
        forms = (secret, base64.b64encode(secret.encode()).decode(), secret.encode().hex())
        for form in forms:
            assert not any(form.encode() in data for data in everything), (name, form)
    assert found["appliance.log"].count(b"(redacted)") >= 4
    assert b"(redacted)" in found["settings.json"] and b"(redacted)" in found["eve.json"]
    for part in found.values():
        assert b"SUPPORT_TEST_ENVIRONMENT" not in part
    eve = [json.loads(line) for line in found["eve.json"].splitlines()]
    assert any(e["event_type"] == "alert" for e in eve)
    assert not any({"payload", "packet", "payload_printable"} & e.keys() for e in eve)
    assert "packets.pcap" not in found


def test_no_packets_in_odd_events_nor_names_that_fail(tmp_path: Path) -> None:
    """A rule whose message holds what ends a line elsewhere; the longest name there may be."""
    rule = 'alert tcp any any -> any any (msg:"seen \u2028 it"; flags:S; sid:1;)\n'
    box = Box(tmp_path, rules=rule, settings='"outputs.eve.payload" = true\n'
              '"outputs.eve.packet" = true\n')  # fmt: skip
    box.config.write_text(box.config.read_text().replace('"box"', f'"{"測" * 63}"', 1))
    with box:
        box.alerts()
        found = contents(made(box)["location"])
    assert found["eve.json"].count(" ".encode()) + found["eve.json"].count(b"\\u2028") > 0
    assert b'"payload' not in found["eve.json"] and b'"packet"' not in found["eve.json"]


def test_packets_only_when_they_are_asked_for(tmp_path: Path) -> None:
    with Box(tmp_path, more="[support]\npackets = 50\n") as box:
        found = contents(made(box, packets=True)["location"])
        assert list(found) == [*PARTS[:-1], "packets.pcap", "manifest.json"]
        (tmp_path / "p.pcap").write_bytes(found["packets.pcap"])
        with open_capture(tmp_path / "p.pcap") as capture:
            assert sum(len(batch) for batch in capture.batches(64)) == 50
        box.forwards_what_it_permits()
        assert box.stop()["lost"]["packets"] == 0


def test_one_at_a_time(tmp_path: Path) -> None:
    with serve(hang) as server, Box(tmp_path, more=f"[support]\n{LOCAL}attempts = 1\n") as box:
        first = box.ask("report", by="Ann", to=server.url(), id="first")
        with pytest.raises(EngineError, match=r"report first is being made since 20.* by Ann"):
            box.ask("report", by="Bob", id="second")
        assert box.ask("report", by="Ann", id="first")["id"] == "first"  # the same one
        told = ended(box, first["id"], "failed")
        assert "no answer of 127.0.0.1: nothing happened in time" in told["error"]
        assert told["location"] in told["error"] and Path(told["location"]).is_file()
        assert made(box, id="second")["state"] == "done"
        assert box.ask("report-status")["id"] == "second"
        with pytest.raises(EngineError, match="no report third"):
            box.ask("report-status", id="third")


def test_it_goes_to_a_custom_location(tmp_path: Path) -> None:
    """Tried again when the server fails, with the URL's secrets in no status."""
    with (
        serve(answer(500), answer(201)) as server,
        Box(tmp_path, more=f"[support]\n{LOCAL}") as box,
    ):
        url = server.url("/up/r.tar.gz?X-Amz-Signature=abcdef")
        told = made(box, to=url)
        assert told["sent_to"] == told["to"] == server.url("/up/r.tar.gz")
        assert (told["attempts"], told["status"], told["progress"]) == (2, 201, 1.0)
        assert server.seen[1].body == Path(told["location"]).read_bytes()
        assert hashlib.sha256(server.seen[1].body).hexdigest() == told["sha256"]
        assert "abcdef" not in json.dumps([told, box.events("appliance")])
        contents(told["location"])


@pytest.mark.parametrize(("order", "why"), [
    ({"to": "http://files.example/r.zip"}, r"NAME\.tar\.gz"),
    ({"to": "https://b.s3.amazonaws.com/r.tar.gz"}, "x-amz-acl"),
    ({"to": "ftp://files.example/r.tar.gz"}, "http"),
    ({"to": "vendor"}, r"support\.vendor\.url"),
    ({"out": "r.tar.gz"}, "absolute"),
    ({"out": "/tmp/r.zip"}, "absolute"),
    ({"out": "/tmp/r.tar.gz", "to": "vendor"}, "not both"),
    ({"id": "a b"}, "no id"),
])  # fmt: skip
def test_what_is_refused_at_once(shared_box: Box, order: dict[str, Any], why: str) -> None:
    with pytest.raises(EngineError, match=why):
        shared_box.ask("report", **order)


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "localhost", "[::1]"])
def test_what_is_refused_by_its_address(shared_box: Box, host: str) -> None:
    with pytest.raises(EngineError, match=r"support\.allow"):
        shared_box.ask("report", to=f"http://{host}:1/r.tar.gz")


@pytest.fixture(scope="module")
def shared_box(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Box(tmp_path_factory.mktemp("box"), rate="500pps") as box:
        yield box


def test_old_reports_go(tmp_path: Path) -> None:
    with Box(tmp_path, rate="500pps", more="[support]\nkeep = 2\n") as box:
        kept = box.directory / "reports"
        kept.mkdir()
        (kept / "backup.tar.gz").write_bytes(b"precious")
        os.utime(kept / "backup.tar.gz", (1, 1))
        (kept / "link.tar.gz").symlink_to("/nowhere")
        reports = [made(box)["location"] for _ in range(3)]
        assert (kept / "backup.tar.gz").read_bytes() == b"precious"
        (kept / "backup.tar.gz").unlink()
        (kept / "link.tar.gz").unlink()
        assert sorted(map(str, kept.iterdir())) == sorted(reports[1:])
        out = tmp_path / "out.tar.gz"
        assert made(box, out=str(out))["location"] == str(out)
        contents(str(out))
        assert "never overwritten" in made(box, "failed", out=str(out))["error"]
        foreign, dangling = tmp_path / ".v.tar.gz.part", tmp_path / "l.tar.gz"
        foreign.write_bytes(b"precious")
        dangling.symlink_to(tmp_path / "nowhere")
        assert "never overwritten" in made(box, "failed", out=str(dangling))["error"]
        (tmp_path / "v.tar.gz").mkdir()
        made(box, "failed", out=str(tmp_path / "v.tar.gz"))
        (tmp_path / "v.tar.gz").rmdir()
        made(box, out=str(tmp_path / "v.tar.gz"))
        assert foreign.read_bytes() == b"precious" and dangling.is_symlink()
        assert len(list(kept.iterdir())) == 2


def test_it_is_bounded(tmp_path: Path) -> None:
    """Parts that have no room are named; the archive keeps to its size."""
    with Box(tmp_path, rate="500pps", more='[support]\nmax-size = "300kb"\n') as box:
        with open(box.directory / "appliance.log", "w") as log:
            for i in range(20_000):
                log.write(f"{i} {os.urandom(20).hex()}\n")
        told = made(box)
        assert told["size"] < 300 << 10
        found = contents(told["location"])
        lacking = json.loads(found["manifest.json"])["lacking"]
        assert [one["name"] for one in lacking] == ["appliance.log"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", small]).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with Box(tmp_path) as box:
            told = made(box, "failed", out=str(small / "r.tar.gz"))
            assert "No space left on device" in told["error"]
            assert str(small / "r.tar.gz") in told["error"] and told["location"] is None
            assert list(small.iterdir()) == []
            assert made(box)["state"] == "done"
            box.inspects()
    finally:
        subprocess.run(["umount", "-l", small], check=False)


def report_pid(box: Box) -> int:
    assert box.process is not None
    children = Path(f"/proc/{box.process.pid}/task/{box.process.pid}/children").read_text()
    for pid in map(int, children.split()):
        if b"\0report\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise AssertionError("no process makes a report")


def test_it_is_cancelled_and_killed(tmp_path: Path) -> None:
    """However it ends: nothing half written, the packets flow, the next one is made."""
    with serve(hang) as server, Box(tmp_path, more=f"[support]\n{LOCAL}timeout = \"60s\"\n".replace(
            'timeout = "2s"\n', "")) as box:  # fmt: skip
        number = box.ask("report", to=server.url())["id"]
        following(box, number, lambda t: t["state"] == "uploading")
        pid = report_pid(box)
        assert box.process is not None
        first = os.getpriority(os.PRIO_PROCESS, box.process.pid)
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, first + 10)
        assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"
        assert b"127.0.0.1" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        box.ask("report-cancel")
        told = ended(box, number, "cancelled")
        assert "kept in" in told["error"] and Path(told["location"]).is_file()
        with pytest.raises(EngineError, match="is not being made"):
            box.ask("report-cancel")
        number = box.ask("report")["id"]
        os.kill(report_pid(box), signal.SIGKILL)
        told = ended(box, number, "failed")
        assert "signal 9" in told["error"]
        number = box.ask("report")["id"]
        stopped = report_pid(box)
        os.kill(stopped, signal.SIGSTOP)
        box.inspects()  # nobody waits for it
        box.ask("report-cancel")
        ended(box, number, "cancelled")
        box.wait(lambda t: not list((box.directory / "reports").glob(".*")), "nothing is left")
        assert box.status()["state"] == "normal"
    without_surprise(box)


def test_an_appliance_that_stops_ends_it(tmp_path: Path) -> None:
    with serve(hang) as server, Box(tmp_path, more=f"[support]\n{LOCAL}") as box:
        number = box.ask("report", to=server.url())["id"]
        following(box, number, lambda t: t["state"] == "uploading")
        pid = report_pid(box)
        box.stop()
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(("latest", "why"), [
    (__version__, ""), ("99.0", "99.0 is the latest version: update first"),
    (None, "support.vendor.latest names no document"),
])  # fmt: skip
def test_the_vendor_takes_the_latest_version_only(
    tmp_path: Path, latest: str | None, why: str
) -> None:
    (tmp_path / "latest.json").write_text(json.dumps({"version": latest}))
    named = 'latest = "latest.json"\n' if latest else ""
    with serve(slow) as server, Box(
        tmp_path, rate="500pps",
        more=f'[support]\n{LOCAL}[support.vendor]\nurl = "{server.url("/in/")}"\n{named}',
    ) as box:  # fmt: skip
        end = time.monotonic() + PATIENCE_S
        while (told := box.ask("report-vendor"))["checking"] and time.monotonic() < end:
            time.sleep(0.05)
        assert told["available"] is not bool(why) and why in told["why"]
        if why:
            assert why in made(box, "failed", to="vendor")["error"]
            assert not server.seen
        else:
            told = made(box, to="vendor")
            assert server.seen[0].path == f"/in/{told['file_name']}"
            assert told["sent_to"] == server.url(server.seen[0].path)


def cli(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c",
         "import sys; sys.argv[0] = 'nsdata'; from nsdata.cli import main; main()",
         "appliance", arguments[0], str(box.directory), *arguments[1:]],
        capture_output=True, text=True, timeout=2 * PATIENCE_S, cwd=box.directory.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip


def test_on_the_command_line(shared_box: Box, tmp_path: Path) -> None:
    done = cli(shared_box, "report", "--out", "here.tar.gz")
    assert done.returncode == 0, done.stderr
    path = shared_box.directory.parent / "here.tar.gz"
    assert f"{path} ({path.stat().st_size:,} bytes, SHA-256 " in done.stdout
    done = cli(shared_box, "report", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0 and Path(told["location"]).is_file()
    assert told["by"] == "the command line"
    done = cli(shared_box, "report", "--to", "http://files.example/x")
    assert done.returncode == 1 and ".tar.gz" in done.stderr
    done = cli(shared_box, "report", "--to", "http://127.0.0.1/x.tar.gz")
    assert done.returncode == 1 and "127.0.0.1 is loopback" in done.stderr
    assert cli(shared_box, "report", "--vendor", "--out", "x.tar.gz").returncode == 2
    assert "report" in cli(shared_box, "report-status").stdout
    assert "is not being made" in cli(shared_box, "report-cancel").stderr


@pytest.mark.parametrize(("text", "why"), [
    ('max-size = "1kb"', "support.max-size"), ("keep = 0", "support.keep"),
    ('allow = ["10.0.0.1/8"]', "support.allow"), ("attempts = 0", "support.attempts"),
    ('[support.vendor]\nurl = "ftp://v.example/"', "http"),
    ('[support.vendor]\nurl = "https://b.s3.amazonaws.com/"', "x-amz-acl"),
    ('[support.vendor]\nlatest = "https://u:p@v.example/"', "user information"),
])  # fmt: skip
def test_settings_that_make_no_sense(tmp_path: Path, text: str, why: str) -> None:
    from nsdata.appliance.settings import ApplianceSettings

    file = tmp_path / "a.toml"
    file.write_text(f'[source]\ncaptures = ["x.pcap"]\n[support]\n{text}\n')
    with pytest.raises(SettingError, match=why) as caught:
        ApplianceSettings.load(file)
    assert str(file) in str(caught.value)


def test_the_same_parts_give_the_same_bytes(tmp_path: Path) -> None:
    from nsdata.support.archive import Archive

    made = []
    for name in ("a", "b"):
        with Archive(tmp_path / f"{name}.tar.gz", "report", 1_700_000_000, 1 << 20) as archive:
            archive.add("one.json", b"{}\n", rows=1)
            archive.lacks("two.json", "no such file")
            archive.finish({"report": "x"})
        made.append((tmp_path / f"{name}.tar.gz").read_bytes())
    assert made[0] == made[1]
    with tarfile.open(fileobj=io.BytesIO(made[0])) as tar:
        assert tar.getnames() == ["report/one.json", "report/manifest.json"]
