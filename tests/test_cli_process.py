"""The command line as a process: signals, pipes, and the two ways to start it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import traffic
from capture_frames import frames_of, write_capture

ROOT = Path(__file__).parents[1]
PLAIN = ROOT / "tests" / "captures" / "variants" / "plain.pcap"
NSDATA = Path(sys.executable).parent / "nsdata"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "any.rules"
    path.write_text('alert ip any any -> any any (msg:"any"; ttl:>0; sid:1;)\n')
    return path


def eve_lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def paced(tmp_path: Path, rules: Path) -> tuple[list[str], Path]:
    """A replay that takes a minute, and its EVE file."""
    frames = [traffic.udp(b"x", ident=n % 60000) for n in range(6000)]
    write_capture(tmp_path / "long.pcap", frames,
                  [traffic.START_NS + n * 10 * traffic.MS for n in range(6000)])  # fmt: skip
    eve = tmp_path / "eve.json"
    words = [NSDATA, "replay", tmp_path / "long.pcap", "-r", rules, "--eve", eve, "--speed", "1x"]
    return [str(word) for word in words], eve


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_a_whole_record(
    tmp_path: Path, rules: Path, number: int, status: int
) -> None:
    words, eve = paced(tmp_path, rules)
    forwarded, out = tmp_path / "f.pcap", tmp_path / "s.json"
    words += ["--write-forwarded", str(forwarded), "--summary", str(out)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 30
        while not eve.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(2)  # it has taken a batch, and sleeps before the next
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == status
    assert "Traceback" not in err and err.count("interrupted after") == 1
    summary = json.loads(out.read_text())
    (fault,) = summary["errors"]
    assert fault["kind"] == "Interrupted" and 0 < summary["received"] < 6000
    kinds = [e["event_type"] for e in eve_lines(eve)]
    assert kinds.count("alert") == summary["received"] and kinds.count("flow") > 0
    assert kinds[-2:] == ["ledger", "stats"]
    assert len(list(frames_of(forwarded))) == summary["received"]


def test_a_signal_is_seen_while_the_path_runs_at_full_speed(tmp_path: Path, rules: Path) -> None:
    words = [NSDATA, "replay", PLAIN, "-r", rules, "--loops", "10000000", "-q",
             "--eve", "/dev/null", "--summary", tmp_path / "s.json"]  # fmt: skip
    process = subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted" in err
    assert json.loads((tmp_path / "s.json").read_text())["errors"][0]["kind"] == "Interrupted"


def test_a_closed_pipe_ends_the_run_quietly(tmp_path: Path, rules: Path) -> None:
    command = f"'{NSDATA}' replay '{PLAIN}' -r '{rules}' --eve - -q --loops 300 | head -n 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert json.loads(done.stdout)["event_type"]
    assert "Traceback" not in done.stderr and done.returncode in (1, 141)


def test_the_installed_command_and_the_module_are_the_same(rules: Path) -> None:
    words = ["replay", str(PLAIN), "-r", str(rules), "--eve", "-", "-q"]
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    one = subprocess.run([NSDATA, *words], capture_output=True, check=True)
    two = subprocess.run([sys.executable, "-m", "nsdata", *words], capture_output=True,
                         check=True, env=env)  # fmt: skip
    assert one.stdout == two.stdout != b""
