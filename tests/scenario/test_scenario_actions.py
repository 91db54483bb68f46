"""Everything that can happen in virtual time, and what must come of it."""

import re
from collections import Counter
from pathlib import Path

import pytest
from scenes import QUICK, ROOT, fell, ran

from nsdata.fallback.ledger import Why
from nsdata.scenario.actions import KINDS, do_of
from nsdata.scenario.judge import counted
from nsdata.scenario.run import Result, run
from nsdata.scenario.scenario import parse


def act(text: str, **given: str) -> Result:
    """A run with actions, as `at do key=value …` a line."""
    entries = ""
    for line in text.strip().split("\n"):
        at, do, *rest = line.split()
        entries += f'[[action]]\nat = "{at}"\ndo = "{do}"\n'
        entries += "".join(one.replace("=", " = ", 1).replace("~", " ") + "\n" for one in rest)
    found = ran(entries, **given)
    assert found.ok, [one for one in found.verdicts if not one.ok]
    return found


def test_every_action_is_tried_here() -> None:
    text = Path(__file__).read_text()
    assert not [do_of(kind) for kind in KINDS if not re.search(rf"[0-9]m?s {do_of(kind)}\b", text)]


def reasons(result: Result) -> Counter[Why]:
    return +Counter({why: result.record.ledger.why(why).packets for why in Why})


def entered(result: Result, at: int = 0) -> tuple[str, float, dict]:
    """(reason, seconds, what was given as evidence) of an entry on the record."""
    one = result.record.entries[at]
    assert (one["outcome"], one["to"]) == ("entered", "fallback")
    return one["reason"], result.record.seconds(one["at_ns"]), one["evidence"].get("given", {})


def test_the_load_is_what_was_offered() -> None:
    calm = ran(duration="4s")
    assert calm.record.offered == 4000 and reasons(calm) == {Why.INSPECTED: 4000}
    assert act('1s rate rate="3kpps"', duration="4s").record.offered == 10_000
    assert act('1s pause for="2s"', duration="4s").record.offered == 2000
    assert act('1s burst for="2s" rate="5kpps"', duration="4s").record.offered == 12_000


def test_a_rate_during_a_burst_stands_and_a_pause_in_one_goes_back_to_the_usual() -> None:
    found = act('1s burst for="2s" rate="5kpps"\n2s rate rate="2kpps"', duration="4s")
    assert found.record.offered == 1000 + 5000 + 4000
    found = act('1s burst for="2s" rate="5kpps"\n2s pause for="1s"', duration="4s")
    assert found.record.offered == 1000 + 5000 + 1000


def test_odd_rates_come_exactly() -> None:
    found = ran(duration="3s", rate="333.333pps").record
    assert found.offered == 1000
    stamps = [one for one in found.eve.split(b"\n") if b'"event_type":"alert"' in one]
    assert len(stamps) == 20


def test_an_action_at_a_packet_comes_after_it_and_before_the_next() -> None:
    entries = '[[action]]\nname = "x"\nat_packet = 1234\ndo = "fallback"\n'
    found = ran(entries, rate="37kpps", duration="1s")
    assert found.record.done[0].packet == 1234
    assert found.record.entries[0]["at_packet"] == 1235
    assert counted(found.record.ledger, "fallback") == 37_000 - 1234


def test_a_worker_that_is_killed_comes_back() -> None:
    found = act('2s kill process="worker-0"')
    assert fell(found) == []
    kinds = [one.kind for one in found.record.events if one.subject == "worker-0"]
    assert kinds == ["started", "crash", "started", "recovered"]
    assert reasons(found)[Why.WORKER] in range(395, 405)  # 100 ms delay, 300 ms to start
    assert counted(found.record.ledger, "lost") == 0


def test_a_port_that_is_killed_loses_what_it_held() -> None:
    found = act('2s kill process="port"', box='capacity = "500pps"')
    assert reasons(found)[Why.PORT] == 64  # a ring of batches that came a millisecond apart
    assert [one.kind for one in found.record.events].count("port gone") == 1
    assert found.record.offered in range(5590, 5610)  # nothing comes in for 400 ms


def test_a_writer_that_is_killed_loses_no_line() -> None:
    """Workers keep theirs until there is another."""
    found = act('2s kill process="writer"')
    assert found.record.lines_lost == 0 and found.record.alerts[1] == 120


@pytest.mark.parametrize("process", ["worker-0", "port", "writer"])
def test_a_process_that_hangs_is_a_heartbeat_error(process: str) -> None:
    found = act(f'2s stop process="{process}"\n5s restore')
    reason, at, given = entered(found)
    assert reason == "heartbeat error" and given["process"] == process
    assert 2.5 <= at < 2.521
    assert fell(found)[-1] == ("restored", "no error")


def test_a_process_that_goes_on_in_time_is_no_error() -> None:
    found = act('2s stop process="worker-0"\n2400ms continue process="worker-0"')
    assert fell(found) == []
    # what its ring took it inspects late: nothing is lost but what found no place
    assert reasons(found)[Why.OVERSUBSCRIBED] < 400
    assert sum(reasons(found).values()) == 6000
    found = act('2s stop process="port"\n2400ms continue process="port"')
    assert fell(found) == [] and found.record.offered in range(5590, 5610)


def test_a_process_that_grows_is_a_memory_error() -> None:
    limit = QUICK + '"watch.max-memory" = "1gb"\n'
    assert fell(act('2s bloat process="writer" to="1gb"', settings=limit)) == []
    found = act('2s bloat process="writer" to="1025mb"\n5s restore', settings=limit)
    reason, at, given = entered(found)
    assert reason == "memory error" and given["rss_bytes"] == 1025 << 20
    assert at <= 2.1
    assert fell(found)[-1][0] == "restored"  # the new one is small


def test_a_worker_that_lies_is_unknown() -> None:
    found = act('2s corrupt process="worker-0"\n5s restore')
    reason, at, given = entered(found)
    assert reason == "unknown" and at == 2.0 and "claims" in given["error"]
    assert fell(found)[-1][0] == "restored"
    assert counted(found.record.ledger, "lost") == 0


def test_an_error_of_the_block_is_an_fpga_error() -> None:
    found = act('2s fpga-error error="SEU"\n5s restore', box="offload = true")
    reason, at, given = entered(found)
    assert reason == "FPGA reported error" and given["fpga"]["class"] == "SEU"
    assert at == 2.0 and fell(found)[-1][0] == "restored"


def test_an_error_of_the_block_may_be_left_to_software() -> None:
    alone = QUICK + '"offload.on-failure" = "software"\n'
    found = act('2s fpga-error error="SEU"', box="offload = true", settings=alone)
    assert fell(found) == [] and "FPGA out of use" in [one.kind for one in found.record.events]


def test_sensors_make_a_health_score() -> None:
    text = '1s sensor sensor="temperature-a" value=99'
    reason, at, given = entered(act(text))
    assert reason == "low health score error" and at == 1.4 and given["score"] <= 30
    assert given["sensors"][0]["sensor"] == "temperature-a"
    assert fell(act('1s sensor sensor="temperature-a" missing=true')) == []  # unknown: yellow
    assert fell(act('1s sensor sensor="fan-1" value=0')) == []  # one of two
    both = '1s sensor sensor="fan-1" value=0\n1s sensor sensor="psu-1" value=0'
    assert entered(act(both))[0] == "low health score error"
    again = text + '\n2s sensor sensor="temperature-a" value=20\n5s restore'
    assert fell(act(again))[-1][0] == "restored"


def test_a_full_disk_is_a_low_health_score_and_loses_lines() -> None:
    found = act("2s fill-disk\n4s free-disk")
    assert entered(found)[0] == "low health score error"
    assert found.record.lines_lost > 0 and counted(found.record.ledger, "lost") == 0
    assert act('2s fill-disk leave="2gb"').record.entries == []


def test_by_hand_is_no_error() -> None:
    found = act('1s fallback note="cabling"\n2s fallback\n3s restore\n4s restore')
    assert fell(found) == [("entered", "no error"), ("refused", "no error"),
                           ("restored", "no error"), ("refused", "no error")]  # fmt: skip
    assert entered(found)[2] == {"note": "cabling"}
    assert counted(found.record.ledger, "fallback") == 2000


def test_a_restore_may_be_forced() -> None:
    text = '1s stop process="worker-0"\n1600ms restore{force}'
    assert fell(act(text.format(force="")))[-1][0] == "refused"
    assert fell(act(text.format(force=" force=true")))[-1][0] == "restored"


def test_rules_are_reloaded_between_two_batches() -> None:
    other = 'alert~udp~any~any~->~any~any~(msg:\\"x\\";~content:\\"ATTACK\\";~sid:2;)'
    found = act(f'3s reload rule_text="{other}"\n5s reload')
    assert dict(found.record.alerts) == {1: 80, 2: 40}
    assert counted(found.record.ledger, "inspected") == 6000


def test_traffic_may_be_blocked_in_fallback() -> None:
    found = act("1s fallback", box='in_fallback = "block"')
    assert reasons(found)[Why.FALLBACK_BLOCK] == 5000


def test_drop_rules_drop_and_only_inline() -> None:
    top = "rule_text = 'drop udp any any -> any any (msg:\"x\"; sid:9;)'"
    assert counted(ran(top=top, duration="1s").record.ledger, "blocked") == 1000
    aside = ran(top=top, duration="1s", box="inline = false")
    assert counted(aside.record.ledger, "blocked") == 0 and aside.record.alerts[9] > 0


def test_an_overload_is_the_same_however_often_it_runs() -> None:
    one, other = (
        ran(rate="200kpps", box='workers = 3\ncapacity = "2kpps"', duration="2s") for _ in range(2)
    )
    assert entered(one)[0] == "threshold error"
    assert one.record.eve == other.record.eve
    assert one.record.ledger == other.record.ledger
    assert reasons(one)[Why.OVERSUBSCRIBED] > 30_000


def test_a_capacity_is_what_is_inspected() -> None:
    found = ran(rate="4kpps", box='capacity = "1kpps"\nslots = 2\nframes = 32', duration="4s")
    assert counted(found.record.ledger, "inspected") in range(3900, 4100)


def test_best_effort_passes_what_would_wait() -> None:
    best = QUICK + '"protection.best-effort.enabled" = true\n'
    found = ran(rate="4kpps", box='capacity = "1kpps"', settings=best, duration="4s")
    assert reasons(found)[Why.OVERSUBSCRIBED] == 0
    assert reasons(found)[Why.BEST_EFFORT] > 10_000
    told = [one for one in found.record.events if one.kind == "best effort"]
    assert told[0].evidence["latency_ns"] >= 1_000_000  # in virtual time


def test_best_effort_sees_time_go_by_though_no_frame_comes() -> None:
    best = QUICK + '"protection.best-effort.enabled" = true\n'
    found = act("2s stop process=\"worker-0\"\n2001ms pause for=\"2s\"\n"
                "2300ms continue process=\"worker-0\"", settings=best)  # fmt: skip
    told = [one for one in found.record.events if one.kind == "best effort"]
    assert [one.evidence["on"] for one in told] == [True, False]
    assert [found.record.seconds(one.at_ns) for one in told] == [2.002, 2.3]


def test_a_batch_takes_its_time_and_a_hang_adds_to_it() -> None:
    entries = """
[[action]]
at = "500ms"
do = "stop"
process = "worker-0"
[[action]]
at = "900ms"
do = "continue"
process = "worker-0"
[[expect]]
at = "0s"
for = "1400ms"
packets = { inspected = 0 }
[[expect]]
at = "0s"
for = "1402ms"
packets = { inspected = 1 }
"""
    found = ran(entries, rate="1pps", box='capacity = "1pps"', duration="2s")
    assert found.ok, found.verdicts


def test_at_the_end_workers_judge_what_they_can_in_half_a_second() -> None:
    """Of 1,000 packets in its ring 100 a second."""
    found = ran(rate="1kpps", box='capacity = "100pps"\nframes = 4096', duration="1s")
    assert reasons(found)[Why.INSPECTED] in range(145, 152)


def test_what_happens_to_nobody_is_noted() -> None:
    found = act('2s kill process="worker-0"\n2010ms stop process="worker-0"')
    assert [one.subject for one in found.record.events if one.kind == "nobody there"] == [
        "worker-0"
    ]


def test_captures_are_played_again_and_again() -> None:
    text = """
duration = "4s"
rules = ["demo/demo.rules"]
[traffic]
captures = ["tests/captures/office.pcap"]
rate = "2kpps"
"""
    found = run(parse(text, "office.toml", ROOT))
    assert found.record.offered == 8000 and len(found.record.alerts) > 10
