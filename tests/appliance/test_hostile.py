"""What comes from outside at its worst: broken captures, rule files and output paths."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from box import PATIENCE_S, QUICK, Box, many_flows
from capture_frames import write_capture
from traffic import udp

EVERY_FLOW = 'alert udp any any -> any any (msg:"a flow"; sid:9;)\n'


def restarted(box: Box, name: str) -> None:
    """It is killed, and runs again."""
    pid = box.signal(name, signal.SIGKILL)
    box.wait(lambda t: t["processes"][name]["pid"] not in (None, pid)
             and t["processes"][name]["phase"] == "running", "restarted")  # fmt: skip


def test_a_torn_capture_looped_as_fast_as_can_be_keeps_nobody_from_working(tmp_path: Path) -> None:
    """It fails in every round: said once a second, and the supervisor answers, sees beats, ends."""
    frames = [udp(b"x", "10.0.0.1", "10.0.0.2")] * 50
    path = write_capture(tmp_path / "torn.pcap", frames, [10**18 + i for i in range(50)])
    with open(path, "ab") as file:
        file.write(b"\1" * 40)
    box = Box(tmp_path, capture=path, settings=QUICK)
    box.config.write_text(box.config.read_text().replace('rate = "5kpps"\n', ""))
    with box:
        beats = box.status()["processes"]["port"]["beats"]
        told = box.wait(lambda t: t["port"].get("captures_failed", 0) >= 30, "it fails again")
        assert told["state"] == "normal" and told["port"]["alone"] == 0
        assert told["processes"]["port"]["beats"] > beats
        box.wait(lambda t: any(e["event"] == "capture" and e["evidence"]["failed"] > 1
                               for e in box.events("appliance")), "said with a count")  # fmt: skip
        failed = box.status()["port"]["captures_failed"]
        assert sum(e["event"] == "capture" for e in box.events("appliance")) <= failed // 2
        assert box.process is not None
        box.process.terminate()
        assert box.process.wait(PATIENCE_S) == 0
        box.process = None


def test_time_goes_on_over_a_port_that_is_restarted(tmp_path: Path) -> None:
    """Workers would take frames of an earlier time for late ones. The capture spans 60 ms."""
    with Box(tmp_path, rate="20kpps", capture=many_flows(tmp_path / "flows.pcap"),
             settings=QUICK) as box:  # fmt: skip
        before = box.wait(lambda t: t["port"]["clock_ns"] > 10**18 + 65_000_000, "two rounds")
        restarted(box, "port")
        after = box.wait(lambda t: t["port"].get("clock_ns", 0) > 0, "frames come")
        assert after["port"]["clock_ns"] > before["port"]["clock_ns"]


def memory_files(pid: int) -> int:
    """The descriptors of shared memory that a process has."""
    found = 0
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            found += "memfd:" in os.readlink(path)
    return found


def test_workers_that_are_restarted_leave_no_descriptors(tmp_path: Path) -> None:
    with Box(tmp_path, settings=QUICK) as box:
        assert box.process is not None
        pids = [box.process.pid, box.pid("port"), box.pid("writer")]
        first = [memory_files(pid) for pid in pids]
        for _ in range(2):  # a third crash would be a process error
            restarted(box, "worker-0")
            box.inspects()
        assert [memory_files(pid) for pid in pids] == first


def test_a_pipe_in_place_of_the_eve_file_is_like_a_full_disk(tmp_path: Path) -> None:
    """Nobody reads it: lines wait, the writer beats, and a file is taken again."""
    with Box(tmp_path, rules=EVERY_FLOW, rate="300pps", settings=QUICK,
             capture=many_flows(tmp_path / "flows.pcap")) as box:  # fmt: skip
        eve = box.directory / "eve.json"
        box.wait(lambda t: eve.exists() and eve.stat().st_size > 0, "written")
        os.mkfifo(pipe := box.directory / "pipe")
        pipe.rename(eve)
        log = box.directory / "appliance.log"
        told = box.wait(lambda t: log.read_text().count('"event": "output"') > 2, "tried again")
        assert told["state"] == "normal" and told["processes"]["writer"]["attempt"] == 1
        eve.unlink()
        box.wait(lambda t: any(e["event"] == "output" for e in box.events("appliance")), "written")
        said = [e["evidence"] for e in box.events("appliance") if e["event"] == "output"]
        assert said[-1]["why"] == "" and said[-1]["lost"] == 0
