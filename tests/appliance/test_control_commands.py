"""The command line of a running appliance."""

import json
import signal
import subprocess
import sys
from pathlib import Path

from box import QUICK, Box
from typer.testing import CliRunner, Result

from nsdata.appliance.child import environment
from nsdata.appliance.control import ask
from nsdata.cli.appliance import app
from nsdata.errors import EngineError


def test_statistics_are_watched(tmp_path: Path) -> None:
    """One answer a second as JSON, until Ctrl-C, which is no error."""
    with Box(tmp_path, settings=QUICK) as box:
        command = [sys.executable, "-c", "from nsdata.cli import main; main()", "appliance",
                   "stats", str(box.directory), "--watch", "--json"]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as watching:
            assert watching.stdout is not None
            told = [json.loads(watching.stdout.readline()) for _ in range(3)]
            watching.send_signal(signal.SIGINT)
            assert watching.wait(20) == 0
        assert told[0]["now_ns"] < told[1]["now_ns"] < told[2]["now_ns"]
        assert told[-1]["tiers"][0]["packets_per_second"] > 0
        assert told[-1]["segments"].keys() == {"default"}
        shown = CliRunner().invoke(app, ["stats", str(box.directory)])
        assert "2 load balancing" in shown.output


def test_an_operators_day(tmp_path: Path) -> None:
    runner = CliRunner()
    with Box(tmp_path, settings=QUICK) as box:
        directory = str(box.directory)

        def say(*words: str) -> Result:
            return runner.invoke(app, [words[0], directory, *words[1:]])

        told = say("status")
        assert told.exit_code == 0 and "box: normal (no error, Info)" in told.output
        assert "worker-0" in told.output and "received" in told.output
        assert json.loads(say("status", "--json").output)["state"] == "normal"

        assert "already normal" in (refused := say("restore")).output and refused.exit_code == 1
        assert "normal -> fallback: no error (entered)" in say("fallback", "--note", "x").output
        assert "Put into fallback by hand." in say("status").output
        again = say("fallback")
        assert again.exit_code == 1 and "already in fallback" in again.output
        assert "fallback -> normal: no error (restored)" in say("restore").output

        reloaded = say("reload")
        assert "asked worker-0" in reloaded.output and "worker-0: 1 rules" in reloaded.output
        other = tmp_path / "other.rules"
        other.write_text('alert udp any any -> any any (msg:"u"; sid:9;)\n')
        assert "asked worker-0" in say("reload", "--rules", str(other)).output

        wrong = say("reload", "--rules", str(tmp_path / "nowhere.rules"))
        assert wrong.exit_code == 1 and "the rules from before stay" in wrong.output
        forced = say("restore", "--force")
        assert forced.exit_code == 1 and "overrides" not in forced.output

        told = say("transitions", "--most", "5").output
        assert "note: x" in told  # the evidence
        lines = [line for line in told.splitlines() if not line.startswith(" ")][1:]
        assert len(lines) == 4 and "(refused," in lines[-1] and "(restored," in lines[0]
        assert len(json.loads(say("transitions", "--most", "2", "--json").output)) == 2

        try:
            ask(box.directory, {"command": "inject", "error": "SEU"})
        except EngineError as error:
            assert "there is no command 'inject'" in str(error)
        else:
            raise AssertionError("a command for tests was taken")

        assert say("stop").exit_code == 0
        assert box.process is not None and box.process.wait(40) == 0
        box.process = None
    nobody = runner.invoke(app, ["status", directory])
    assert isinstance(nobody.exception, EngineError)
