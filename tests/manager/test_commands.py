"""The command line, as its users type it: a manager's console, and appliances from afar."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from agents import Simulated
from box import PATIENCE_S, QUICK, ROOT, Box
from command_line import nsdata
from site_ import Site, wait

from nsdata.manager.audit import Role
from nsdata.manager.service import Service
from nsdata.manager.settings import ManagerSettings


def test_an_appliance_from_afar(site: Site, access: tuple[str, ...], tmp_path: Path) -> None:
    token = tmp_path / "enrolment"
    config = ("--config", str(site.config))
    token.write_text(nsdata("manager", "enrol-token", "add", "--note", "edge", *config))
    with Box(tmp_path, settings=QUICK) as box:
        said = nsdata("appliance", "enrol", str(box.directory), "--manager", site.url,
                      "--token-file", str(token))  # fmt: skip
        assert said.startswith(f"enrolled at {site.url} as ")
        assert "its name there is box," in said, "of its configuration, not its directory"
        wait(lambda: '"connected": true' in nsdata("appliance", "list", *access, "--json"), "on")
        assert "normal" in nsdata("appliance", "show", "box", *access)
        assert nsdata("appliance", "bypass", "box", *access) == "bypass: done\n"
        assert box.status()["state"] == "fallback"
        shown = json.loads(nsdata("appliance", "show", "box", *access, "--json"))
        assert shown["name"] == "box"
        assert nsdata("appliance", "bypass", "box", *access) == "bypass: done\n", "it is already"
        assert nsdata("appliance", "inspect", "box", *access) == "inspect: done\n"
        assert box.status()["state"] == "normal"
        said = nsdata("appliance", "remove", "box", *access, status=1)
        assert "still reports" in said and "(409)" in said
        assert "removed box" in nsdata("appliance", "remove", shown["id"], "--force", *access)
        assert "no appliances are called box" in nsdata(
            "appliance", "show", "box", *access, status=1)  # fmt: skip
        assert nsdata("appliance", "leave", str(box.directory)) == "it has left its manager\n"


def test_commands_that_are_not_waited_for(
    site: Site, access: tuple[str, ...], tmp_path: Path
) -> None:
    one = Simulated(site, tmp_path)
    for verb in ("reboot", "report"):
        said = nsdata("appliance", verb, one.id, "--no-wait", *access)
        assert ": queued; https://127.0.0.1" in said
    said = nsdata("appliance", "report", one.id, "--no-wait", *access, status=1)
    assert "runs already" in said


def test_tokens_do_not_stand_on_the_command_line(site: Site, access: tuple[str, ...]) -> None:
    token = site.token(Role.VIEWER)
    where = (*access[:2], *access[4:])
    assert "--token-file FILE, or NSDATA_TOKEN" in nsdata("appliance", "list", *where, status=2)
    assert "No such option" in nsdata("appliance", "list", *where, "--token", token, status=2)
    nsdata("appliance", "list", *where, NSDATA_TOKEN=token)
    nsdata("appliance", "list", *where, "--token-file", "-", given=token + "\n")
    said = nsdata("appliance", "list", *access[:4], status=1)
    assert "the CA of its certificate is not known here: --ca FILE or NSDATA_CA" in said
    assert "ca/ca.pem in the manager's directory" in said and "_ssl.c" not in said
    by_name = site.url.replace("127.0.0.1", "localhost")
    said = nsdata("appliance", "list", "--manager", by_name, *access[2:], status=1)
    assert "certificate is not valid for 'localhost': call it by one of its names" in said
    assert "legal is https" in nsdata(
        "appliance", "list", "--manager", "http://x", *access[2:], status=2)  # fmt: skip


def test_the_console(tmp_path: Path) -> None:
    config = tmp_path / "manager.toml"
    config.write_text('directory = "m"\n')
    more = ("--config", str(config))
    Service(ManagerSettings.load(config)).close()
    assert "SHA-256" in nsdata("manager", "ca", "show", *more)
    assert nsdata("manager", "ca", "show", "--pem", *more).startswith("-----BEGIN CERTIFICATE")
    assert "/password/nsdp_" in nsdata("manager", "user", "add", "anna", "--role", "admin", *more)
    assert "already" in nsdata("manager", "user", "add", "anna", "--role", "admin", *more, status=1)
    assert nsdata("manager", "user", "list", *more) == "anna\tadmin\tenabled\tno password yet\n"
    said = nsdata("manager", "user", "change", "anna", "--disable", *more, status=1)
    assert "one enabled admin has to remain" in said
    assert nsdata("manager", "token", "add", "x", "--role", "viewer", *more).startswith("nsdt_")
    assert "legal are viewer" in nsdata("manager", "token", "add", "x", "--role", "root", *more,
                                        status=2)  # fmt: skip
    nsdata("manager", "token", "revoke", "1", *more)
    assert nsdata("manager", "token", "list", *more) == "1\tx\tviewer\trevoked\t-\n"
    assert nsdata("manager", "enrol-token", "add", *more).startswith("nsde_")
    nsdata("manager", "enrol-token", "revoke", "1", *more)
    assert nsdata("manager", "enrol-token", "list", *more) == "1\t\trevoked\n"


@pytest.mark.parametrize(
    "verb",
    [("enrol-token", "add"), ("token", "add", "x", "--role", "viewer"), ("user", "list"),
     ("ca", "show")],
)  # fmt: skip
def test_the_console_makes_no_manager(tmp_path: Path, verb: tuple[str, ...]) -> None:
    said = nsdata("manager", *verb, status=1, cwd=tmp_path)
    start = "start it with nsdata manager run"
    assert f"no manager in nsdata-manager: say --config FILE, or {start}" in said
    config = tmp_path / "manager.toml"
    config.write_text('directory = "m"\n')
    said = nsdata("manager", *verb, "--config", str(config), status=1)
    assert f"start it first: nsdata manager run --config {config}" in said
    assert list(tmp_path.iterdir()) == [config], "nothing was made"


def test_one_manager_in_a_directory(site: Site) -> None:
    said = nsdata("manager", "run", "--config", str(site.config), status=1)
    assert "another manager runs in this directory" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('listen = "8443"', "manager.toml:1: listen: legal: an address and a port"),
        ('\nnames = ["a b"]', "manager.toml:2: names: 'a b' is neither"),
        ('database = "mysql://x"', "manager.toml:1: database: legal: sqlite:///FILE or"),
        ('database = "sqlite://"', "manager.toml:1: database: legal: sqlite:///FILE or"),
        ('certificate = "x"', "name both certificate and key"),
        ("odd = 1", "manager.toml:1: odd: "),
        ('session-idle = "soon"', "manager.toml:1: session-idle: legal: a duration"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "manager.toml"
    config.write_text(text + "\n")
    assert said in nsdata("manager", "run", "--config", str(config), status=2)


def test_the_example() -> None:
    settings = ManagerSettings.load(ROOT / "examples" / "manager" / "manager.toml")
    assert settings.names[0] != "localhost", "it is of links and commands for other machines"
    assert {settings.listen.host, settings.agents.host} == {"0.0.0.0"}
    assert Path(settings.directory).resolve() == ROOT / "out" / "manager"


def test_the_demo(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "nsdata", "manager", "demo", "--directory", str(tmp_path / "d"),
             "--listen", "127.0.0.1:0", "--agents", "127.0.0.1:0"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        wait(lambda: "Ctrl-C ends" in log.read_text(), "it runs", log.read_text)
        text = log.read_text()
        assert "/password/nsdp_" in text and "lab reports: 500pps, with an FPGA" in text
        config = tmp_path / "m.toml"
        config.write_text(f'directory = "{tmp_path}/d/manager"\n')
        token = nsdata("manager", "token", "add", "x", "--role", "viewer", "--config", str(config))
        found = text.split("manager at ")[1].split()[0].rstrip(",")

        def all_normal() -> bool:
            ca = f"{tmp_path}/d/manager/ca/ca.pem"
            said = nsdata("appliance", "list", "--json", "--manager", found, "--ca", ca,
                          NSDATA_TOKEN=token.strip())  # fmt: skip
            rows = json.loads(said)
            return [row["name"] for row in rows] == ["lab", "north", "south"] and all(
                row["state"] == "normal" and row["packets_per_second"] > 0 for row in rows
            )

        wait(all_normal, "three appliances inspect", log.read_text)
        second = nsdata("manager", "demo", "--directory", str(tmp_path / "d"), status=1)
        assert "another manager runs in this directory" in second
        assert "Beside another demo: --directory" in second and "--agents" in second
        port = found.rpartition(":")[2]
        second = nsdata("manager", "demo", "--directory", str(tmp_path / "e"),
                        "--listen", f"127.0.0.1:{port}", status=1)  # fmt: skip
        assert f"127.0.0.1:{port}: cannot listen: Address already in use. Beside" in second
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
    assert "all has ended" in log.read_text()
    for name in ("north", "south", "lab"):
        assert not (tmp_path / "d" / name / "run" / "control.sock").exists()


def test_appliances_of_a_demo_that_is_killed_end_with_it() -> None:
    child = "import time; print('it runs', flush=True); time.sleep(600)"
    parent = (
        "import os, subprocess, sys, time\n"
        "from nsdata.cli.demo import WITH_PARENT\n"
        f"child = [sys.executable, '-c', WITH_PARENT, str(os.getpid()), '-c', {child!r}]\n"
        "print(subprocess.Popen(child).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = {process.stdout.readline().strip(), process.stdout.readline().strip()}
        (number,) = (int(one) for one in said if one.isdigit())
        assert "it runs" in said and Path(f"/proc/{number}").exists()
        process.kill()

        def gone() -> bool:
            try:
                return Path(f"/proc/{number}/stat").read_text().split()[2] == "Z"
            except OSError:
                return True

        wait(gone, "the child has ended")
