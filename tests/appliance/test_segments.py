"""Segments in a running appliance: what is not inspected is permitted, blocked, or has a budget;
looked up in the capture of what was forwarded."""

import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from box import QUICK, Box
from capture_frames import frames_of, write_capture
from traffic import udp

FRAMES = 300
SEGMENTS = """
[segment.guests]
vlan = [20, 21]
[segment.dmz]
networks = ["192.0.2.0/24", "2001:db8::/32"]
[output]
forward = "forwarded.pcap"
"""


def in_turn(directory: Path) -> Path:
    """A frame of guests, one of the dmz, one of neither, and so on."""
    kinds = (
        {"vlans": (20,)},
        {"src": "192.0.2.7"},
        {"dst": "198.51.100.9"},
    )
    frames = [udp(b"x" * 400, sport=1000 + i, **kinds[i % 3]) for i in range(FRAMES)]  # type: ignore[arg-type]
    times = [10**18 + i * 1000 for i in range(FRAMES)]
    return write_capture(directory / "turn.pcap", frames, times)


def box_of(directory: Path, settings: str, more: str = "") -> Box:
    return Box(directory, rate="3kpps", capture=in_turn(directory), more=more + SEGMENTS,
               settings=QUICK + settings)  # fmt: skip


def segment_of(frame: bytes) -> str:
    if frame[12:14] == b"\x81\x00":
        return "guests"
    return "dmz" if frame[26:30] == bytes([192, 0, 2, 7]) else "default"


def forwarded(box: Box) -> list[str]:
    """The segments of the frames that were forwarded, in order."""
    return [segment_of(frame) for _, frame in frames_of(box.directory / "forwarded.pcap")]


def agree(box: Box, ledger: dict[str, Any]) -> list[str]:
    """Of each segment: what was forwarded and what was blocked is what was received. The segments
    of the frames forwarded."""
    found = forwarded(box)
    received = ledger["received"]["packets"]
    reasons = {**ledger["blocked"]["reasons"], **ledger["lost"]["reasons"]}
    assert {why for why, count in reasons.items() if count} <= {"fallback_block"}
    told = box.events("ledger")[-1]["segments"]
    came = {name: (received - at + 2) // 3 for at, name in enumerate(told)}
    gone = {name: one["blocked_packets"] for name, one in told.items()}
    went = Counter(found)
    assert {name: went[name] + gone[name] for name in told} == came
    assert sum(gone.values()) == reasons["fallback_block"]
    permitted = sum(one["permitted_packets"] for one in told.values())
    whys = ledger["bypassed"]["reasons"]
    assert permitted == whys["fallback"] + whys["worker"] + whys["share"]
    return found


def counts(box: Box, what: str) -> dict[str, int]:
    """One figure of each segment."""
    return {name: int(one[what]) for name, one in box.status()["segments"].items()}


def exposed(box: Box, what: str, least: int, *names: str) -> None:
    """So much of these segments was permitted, or blocked, from now on."""
    first = counts(box, what)
    box.wait(lambda t: all(t["segments"][n][what] > first[n] + least for n in names), what)


def told(box: Box, segment: str) -> list[dict[str, Any]]:
    """What was decided about a segment."""
    return [e["evidence"] for e in box.events("appliance")
            if (e["event"], e["subject"]) == ("segment", segment)]  # fmt: skip


def test_in_fallback_one_segment_is_blocked_and_the_others_are_not(tmp_path: Path) -> None:
    with box_of(tmp_path, '"exposure.action.guests" = "block"\n') as box:
        box.ask("fallback")
        exposed(box, "blocked_packets", 500, "guests")
        exposed(box, "permitted_packets", 500, "dmz", "default")
        box.ask("restore")
        box.inspects()
        box.ask("fallback")
        exposed(box, "permitted_packets", 500, "dmz", "default")
        assert counts(box, "permitted_packets")["guests"] == 0
        found = agree(box, box.stop())
    assert Counter(found[-600:]).keys() == {"dmz", "default"}
    assert Counter(found)["guests"] > 100  # they were inspected before


def test_segments_without_an_action_of_their_own_do_as_the_file_says(tmp_path: Path) -> None:
    settings = '"exposure.action.dmz" = "permit"\n'
    with box_of(tmp_path, settings, 'in-fallback = "block"\n') as box:
        box.ask("fallback")
        exposed(box, "blocked_packets", 300, "guests", "default")
        exposed(box, "permitted_packets", 300, "dmz")
        assert counts(box, "permitted_packets")["guests"] == 0
        found = agree(box, box.stop())
    assert set(found[-300:]) == {"dmz"}


def test_without_a_worker_a_segment_is_blocked_and_what_it_had_as_well(tmp_path: Path) -> None:
    """Frames of guests that the worker held when it was killed are not forwarded either."""
    settings = '"exposure.action.guests" = "block"\n"watch.heartbeat" = "30s"\n'
    with box_of(tmp_path, settings) as box:
        pid = box.signal("worker-0", signal.SIGSTOP)
        box.wait(lambda t: t["port"]["held_packets"] > 300, "it holds some")
        first = counts(box, "blocked_packets")["guests"]
        box.signal("worker-0", signal.SIGKILL)
        box.wait(lambda t: t["processes"]["worker-0"]["pid"] not in (None, pid), "restarted")
        assert counts(box, "blocked_packets")["guests"] >= first + 100
        box.inspects()
        assert box.status()["state"] == "normal"
        assert counts(box, "permitted_packets")["guests"] == 0
        agree(box, box.stop())


def test_a_budget_of_bytes_is_used_up_and_whole_again(tmp_path: Path) -> None:
    settings = '"exposure.max-bytes.dmz" = "100kb"\n"exposure.refill" = "500ms"\n'
    with box_of(tmp_path, settings) as box:
        for number in range(2):
            box.ask("fallback")
            exposed(box, "blocked_packets", 200, "dmz")
            box.wait(lambda t: t["segments"]["dmz"]["action"] == "block", "used up")
            box.ask("restore")
            box.wait(lambda t: t["segments"]["dmz"]["action"] == "permit", "inspected again")
            decided = told(box, "dmz")
            actions = [one["action"] for one in decided]
            pairs = len(actions) // 2
            assert actions == ["block", "permit"] * pairs and pairs > number
            assert decided[-2]["used_bytes"] >= 100 * 1024 and decided[-2]["used_up"] == ["bytes"]
            time.sleep(0.6)  # of full inspection
        agree(box, box.stop())
    assert not told(box, "guests") and not told(box, "default")


def test_a_budget_of_time_lasts_over_fallbacks(tmp_path: Path) -> None:
    """Going in and out of fallback does not make it endless."""
    with box_of(tmp_path, '"exposure.max-time.guests" = "1s"\n') as box:
        fallbacks = 0
        while True:
            box.ask("fallback")
            fallbacks += 1
            time.sleep(0.3)
            if box.status()["segments"]["guests"]["action"] == "block":
                break
            box.ask("restore")
        assert 1 < fallbacks < 6  # 300 ms each, or longer
        exposed(box, "blocked_packets", 200, "guests")
        exposed(box, "permitted_packets", 200, "dmz")
        found = agree(box, box.stop())
    assert "guests" not in found[-200:]
    assert told(box, "guests")[0]["used_up"] == ["time"]


def test_another_action_is_taken_over_in_fallback(tmp_path: Path) -> None:
    with box_of(tmp_path, '"exposure.action.guests" = "permit"\n') as box:
        box.ask("fallback")
        exposed(box, "permitted_packets", 200, "guests", "dmz", "default")
        text = box.config.read_text().replace('guests" = "permit"', 'guests" = "block"')
        box.config.write_text('in-fallback = "block"\n' + text)
        box.ask("reload")
        exposed(box, "blocked_packets", 200, "guests", "dmz", "default")
        assert not set(agree(box, box.stop())) - {"guests", "dmz", "default"}


def test_the_port_alone_keeps_the_last_actions(tmp_path: Path) -> None:
    """A supervisor that is stopped: guests stay blocked, the others go on."""
    with box_of(tmp_path, '"exposure.action.guests" = "block"\n') as box:
        assert box.process is not None
        box.process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        box.process.send_signal(signal.SIGCONT)
        box.wait(lambda t: t["segments"]["guests"]["blocked_packets"] > 100, "it was alone")
        assert counts(box, "permitted_packets")["guests"] == 0
        assert counts(box, "permitted_packets")["dmz"] > 100
        box.inspects()
        agree(box, box.stop())
