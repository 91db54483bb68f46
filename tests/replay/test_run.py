"""replay: whole captures through the engine — the same bytes every time, all accounted for."""

import importlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traffic
from capture_frames import frames_of, write_capture
from traffic import MS, SECOND, Talk

from nsdata import CaptureError, LoadedRules, SettingError, Settings, Switch, Verdict, load_rules
from nsdata.errors import OutputError, RuleError
from nsdata.fallback.reasons import State
from nsdata.replay.run import ReplayResult, replay

run_module = importlib.import_module("nsdata.replay.run")  # nsdata.replay is the function
FATES = ("inspected", "bypassed", "blocked", "lost")
DEMO = Path(__file__).parents[2] / "demo" / "demo.rules"
CAPTURES = Path(__file__).parents[1] / "captures"
VARIANTS = CAPTURES / "variants"
OVER: dict[str, Any] = {"capacity_pps": 30, "queue": 64}
ALERTS_ONLY = Settings.load(sets=["outputs.eve.types=alert,drop,fallback,ledger"])


@pytest.fixture(scope="module")
def demo() -> LoadedRules:
    return LoadedRules.build(load_rules([DEMO], Settings()), Settings())


def events(result: ReplayResult, kind: str) -> list[dict[str, Any]]:
    return [e for line in result.eve.splitlines() if (e := json.loads(line))["event_type"] == kind]


def fallbacks(result: ReplayResult) -> list[dict[str, Any]]:
    return [e["fallback"] for e in events(result, "fallback")]


def balanced(result: ReplayResult) -> bool:
    s = result.summary
    return s.packets == s.received == sum(getattr(s, fate) for fate in FATES)


def office_frames() -> int:
    return sum(1 for _ in frames_of(CAPTURES / "office.pcap"))


# ---- the same bytes every time ---------------------------------------------------------


@pytest.mark.parametrize("inline", [False, True])
def test_two_over_subscribed_replays_are_the_same_bytes(
    office: Path, tmp_path: Path, demo: LoadedRules, inline: bool
) -> None:
    outputs = []
    for name in ("one", "two"):
        out = tmp_path / name
        out.mkdir()
        replay(office, loaded=demo, inline=inline, eve=out / "eve.json",
               summary=out / "summary.json", write_forwarded=out / "forwarded.pcap",
               restore_after_ns=7 * SECOND, **OVER)  # fmt: skip
        outputs.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert len(outputs[0]) == 3 and all(outputs[0].values())
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_size_of_batches_changes_nothing(
    office: Path, tmp_path: Path, demo: LoadedRules, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    options = {"loaded": demo, "inline": True, "restore_after_ns": 7 * SECOND, **OVER}
    plain = replay(office, write_forwarded=tmp_path / "a.pcap", **options)
    open_capture = run_module.open_capture

    def in_small_batches(path: Any) -> Any:
        reader = open_capture(path)
        batches = reader.batches
        reader.batches = lambda max_frames=size: batches(size)  # type: ignore[method-assign]
        return reader

    monkeypatch.setattr(run_module, "open_capture", in_small_batches)
    cut = replay(office, write_forwarded=tmp_path / "b.pcap", **options)
    assert cut.eve == plain.eve
    assert cut.summary == plain.summary
    assert (tmp_path / "a.pcap").read_bytes() == (tmp_path / "b.pcap").read_bytes()


def test_rules_compiled_before_and_rules_named_are_alike(office: Path, demo: LoadedRules) -> None:
    one, two = replay(office, DEMO), replay(office, loaded=demo)
    assert one.eve == two.eve and one.summary.alerts == two.summary.alerts > 0


# ---- over-subscription and over-tuning -------------------------------------------------


def test_over_subscription_falls_back_and_what_follows_is_all_forwarded(
    office: Path, tmp_path: Path, demo: LoadedRules
) -> None:
    out = tmp_path / "forwarded.pcap"
    result = replay(office, loaded=demo, inline=True, write_forwarded=out, **OVER)
    (said,) = fallbacks(result)
    assert said["reason"] == "threshold error" and said["state"] == "fallback"
    assert said["evidence"]["attribution"] == "over-subscription"
    assert said["evidence"]["counters"]["lost"] > 0
    s = result.summary
    assert s.state == "fallback" and s.reason == "threshold error" and balanced(result)
    assert s.drops.peak > 0.9 and s.drops.attribution == "over-subscription"
    at = said["at_packet"] if "at_packet" in said else s.transitions[0].at_packet
    assert all(e["pcap_cnt"] < at for e in events(result, "alert") if "pcap_cnt" in e)
    sent, forwarded = list(frames_of(office)), list(frames_of(out))
    after = sent[at - 1 :]
    assert s.reasons["fallback"] == len(after)
    assert forwarded[-len(after) :] == after  # all of it, times and all
    assert len(forwarded) == s.verdicts["pass"] + s.verdicts["bypass_flow"]


def test_restore_after_is_refused_while_the_cause_holds_and_granted_later(
    office: Path, demo: LoadedRules
) -> None:
    result = replay(office, loaded=demo, restore_after_ns=7 * SECOND, **OVER)
    said = fallbacks(result)
    assert [f["outcome"] for f in said] == ["entered", "refused", "restored"]
    assert said[1]["state"] == "fallback" and said[2]["state"] == "normal"
    assert result.summary.state == "normal" and result.summary.inspected > 0
    assert len(result.summary.transitions) == 3 and balanced(result)


def test_over_tuning_names_the_rule(office: Path, tmp_path: Path) -> None:
    rules = tmp_path / "over.rules"
    rules.write_text(
        'drop udp any any -> any [53,8125] (msg:"too much"; sid:77;)\n'
        'drop ip any any -> any any (msg:"all"; ttl:>0; sid:78;)\n'
    )
    result = replay(office, rules, inline=True)
    (said,) = fallbacks(result)
    assert said["reason"] == "threshold error"
    evidence = said["evidence"]
    assert evidence["attribution"] == "over-tuning" and evidence["ratio"] > 0.9
    assert {top["rule"] for top in evidence["top_rules"]} <= {77, 78}
    assert evidence["top_rules"][0]["packets"] >= evidence["top_rules"][-1]["packets"] > 0
    assert result.summary.lost == 0 and result.summary.blocked > 0 and balanced(result)


# ---- switches by hand ------------------------------------------------------------------


@pytest.fixture
def drops(tmp_path: Path) -> tuple[Path, Path]:
    """A capture of 60 frames a second apart, all of which a rule drops, and the rule."""
    frames = [traffic.udp(b"drop", dport=53, ident=n) for n in range(1, 61)]
    times = [traffic.START_NS + n * SECOND for n in range(60)]
    capture, rules = tmp_path / "drops.pcap", tmp_path / "drops.rules"
    write_capture(capture, frames, times)
    rules.write_text('drop udp any any -> any 53 (dsize:4; msg:"x"; sid:1;)\n')
    return capture, rules


@pytest.mark.parametrize(
    ("switches", "permitted"),
    [
        ([Switch(State.FALLBACK, at_frame=11), Switch(State.NORMAL, at_frame=21)], range(11, 21)),
        ([Switch(State.FALLBACK, at_ns=10 * SECOND), Switch(State.NORMAL, at_ns=20 * SECOND)],
         range(11, 21)),
        ([Switch(State.FALLBACK, at_frame=1)], range(1, 61)),
        ([Switch(State.FALLBACK, at_frame=60)], range(60, 61)),
        ([Switch(State.FALLBACK, at_ns=0), Switch(State.NORMAL, at_frame=60)], range(1, 60)),
        ([Switch(State.FALLBACK, at_ns=9 * SECOND + 1)], range(11, 61)),
        ([], range(0)),
    ],
)  # fmt: skip
def test_switches_take_effect_at_exactly_that_packet(
    drops: tuple[Path, Path], tmp_path: Path, switches: list[Switch], permitted: range
) -> None:
    out = tmp_path / "out.pcap"
    result = replay(*drops, inline=True, switches=switches, write_forwarded=out)
    sent = list(frames_of(drops[0]))
    assert list(frames_of(out)) == [sent[n - 1] for n in permitted]
    assert result.summary.bypassed == len(permitted)
    assert result.summary.blocked == 60 - len(permitted)
    assert {e["pcap_cnt"] for e in events(result, "alert")} == set(range(1, 61)) - set(permitted)
    assert all(t.reason == "no error" for t in result.summary.transitions)


# ---- what is forwarded -----------------------------------------------------------------


def test_forwarded_frames_are_those_with_forwarding_verdicts(tmp_path: Path) -> None:
    rules = tmp_path / "r.rules"
    rules.write_text(
        'drop udp any any -> any any (content:"bad"; sid:1;)\n'
        'reject udp any any -> any any (content:"worse"; sid:2;)\n'
        'alert tcp any any -> any any (flow:established; content:"bulk"; bypass; sid:3;)\n'
    )
    talk = Talk().open().client(b"bulk", b"more")
    frames = [traffic.udp(text) for text in (b"good", b"bad", b"worse", b"good")] + talk.frames
    times = [traffic.START_NS + n * 1234567 for n in range(len(frames))]
    write_capture(tmp_path / "in.pcap", frames, times)
    result = replay(tmp_path / "in.pcap", rules, inline=True, write_forwarded=tmp_path / "out.pcap")
    keep = [n for n in range(len(frames)) if n not in (1, 2)]
    assert list(frames_of(tmp_path / "out.pcap")) == [(times[n], frames[n]) for n in keep]
    verdicts = result.summary.verdicts
    assert verdicts["drop"] == 1 and verdicts["reject"] == 1 and verdicts["bypass_flow"] == 1
    ids = replay(tmp_path / "in.pcap", rules, write_forwarded=tmp_path / "ids.pcap")
    assert len(list(frames_of(tmp_path / "ids.pcap"))) == len(frames) and ids.summary.blocked == 0


def test_bypass_rules_forward_and_block(tmp_path: Path, drops: tuple[Path, Path]) -> None:
    bypass = tmp_path / "bypass.toml"
    bypass.write_text("[[rule]]\nid = 1\ndst-port = 53\n")
    result = replay(*drops, inline=True, bypass_rules=bypass)
    assert result.summary.bypassed == 60 and result.summary.alerts == 0
    bypass.write_text('[[rule]]\nid = 1\nprotocol = "udp"\naction = "block"\n')
    result = replay(*drops, bypass_rules=bypass, write_forwarded=tmp_path / "out.pcap")
    assert result.summary.blocked == 60 - result.summary.bypassed and result.summary.alerts == 0


# ---- captures, sound and not -----------------------------------------------------------

SAME = ["plain.pcap", "plain.pcap.gz", "plain.pcap.zst", "plain.pcapng", "plain.pcapng.gz",
        "big-endian.pcap", "big-endian.pcapng", "nano.pcap", "nano-big-endian.pcap",
        "obsolete.pcapng", "sections.pcapng"]  # fmt: skip
OTHER_LINKS = ["raw.pcap", "null.pcap", "loop.pcap", "ppp.pcap", "chdlc.pcap", "sll.pcap",
               "sll2.pcap"]  # fmt: skip


def nameless(result: ReplayResult) -> bytes:
    """The EVE lines without the name of the capture."""
    return re.sub(rb',?"pcap_filename":"[^"]*"', b"", result.eve)


def signature(result: ReplayResult) -> list[tuple[Any, ...]]:
    return [
        (e.get("pcap_cnt"), e["alert"]["signature_id"], e["src_ip"], e["dest_ip"])
        for e in events(result, "alert")
    ]


@pytest.fixture(scope="module")
def everything() -> LoadedRules:
    from engines import loaded

    return loaded(
        "alert ip any any -> any any (ttl:>0; sid:1;)\n"
        'alert tcp any any -> any any (flow:established; content:"HTTP"; sid:2;)\n'
        'alert udp any any -> any any (content:"office"; nocase; sid:3;)\n'
    )


def test_every_format_gives_the_same_events(everything: LoadedRules) -> None:
    plain = replay(VARIANTS / "plain.pcap", loaded=everything)
    assert plain.summary.packets == 40 and len(signature(plain)) >= 40
    for name in SAME:
        result = replay(VARIANTS / name, loaded=everything)
        assert result.ok and balanced(result), name
        assert nameless(result) == nameless(plain), name
    for name in [*OTHER_LINKS, "simple.pcapng"]:
        result = replay(VARIANTS / name, loaded=everything)
        assert result.ok and balanced(result), name
        assert Counter(signature(result)) == Counter(signature(plain)), name


@pytest.mark.parametrize(
    ("name", "packets"),
    [("truncated.pcap", 39), ("truncated.pcapng", 39), ("corrupt.pcap", 19)],
)
def test_whole_packets_before_a_fault_are_processed(
    name: str, packets: int, everything: LoadedRules
) -> None:
    result = replay(VARIANTS / name, loaded=everything)
    assert not result.ok and balanced(result)
    assert result.summary.packets == packets
    (fault,) = result.summary.errors
    assert fault.kind == "CaptureError" and name in fault.message and "byte " in fault.message
    plain = replay(VARIANTS / "plain.pcap", loaded=everything)
    assert {e["pcap_cnt"] for e in events(result, "alert") if "pcap_cnt" in e} == set(
        range(1, packets + 1)
    )
    assert len(events(result, "alert")) <= len(events(plain, "alert"))


def test_a_fault_in_one_capture_does_not_stop_the_next(everything: LoadedRules) -> None:
    paths = [VARIANTS / "truncated.pcap", Path("/nonexistent.pcap"), VARIANTS / "plain.pcap"]
    result = replay(paths, loaded=everything)
    assert result.summary.packets == 39 + 40 and len(result.summary.errors) == 2
    assert result.summary.captures == [str(p) for p in paths] and balanced(result)


def test_empty_captures(everything: LoadedRules) -> None:
    result = replay(VARIANTS / "empty.pcap", loaded=everything)
    assert result.ok and result.summary.packets == 0 and balanced(result)
    result = replay([VARIANTS / "empty.pcap", VARIANTS / "plain.pcap"], loaded=everything)
    assert result.summary.packets == 40


def test_several_captures_are_one_run_and_loops_go_on_in_time(
    tmp_path: Path, everything: LoadedRules
) -> None:
    frames = Talk().open().client(b"foo", b"HTTP").frames
    times = [traffic.START_NS + n * MS for n in range(len(frames))]
    write_capture(tmp_path / "a.pcap", frames[:4], times[:4])
    write_capture(tmp_path / "b.pcap", frames[4:], times[4:])
    both = replay([tmp_path / "a.pcap", tmp_path / "b.pcap"], loaded=everything)
    write_capture(tmp_path / "all.pcap", frames, times)
    assert nameless(both) == nameless(replay(tmp_path / "all.pcap", loaded=everything))
    thrice = replay(tmp_path / "all.pcap", loaded=everything, loops=3)
    assert thrice.summary.packets == 3 * len(frames) and balanced(thrice)
    stamps = [e["timestamp"] for e in events(thrice, "alert")
              if e["alert"]["signature_id"] == 1]  # fmt: skip
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)


# ---- misuse ----------------------------------------------------------------------------


def test_senseless_arguments_raise_setting_errors(office: Path, everything: LoadedRules) -> None:
    for options in ({"loops": 0}, {"speed": "fast"}, {"speed": "0x"}, {"bypass_rules": "/none"}):
        with pytest.raises(SettingError):
            replay(office, loaded=everything, **options)
    with pytest.raises(SettingError):
        replay([], loaded=everything)


def test_files_that_cannot_be_used(office: Path, tmp_path: Path, everything: LoadedRules) -> None:
    with pytest.raises(RuleError):
        replay(office, tmp_path / "absent.rules")
    with pytest.raises(OutputError):
        replay(office, loaded=everything, eve=tmp_path / "no" / "such" / "eve.json")
    with pytest.raises(OutputError):
        replay(office, loaded=everything, eve="/dev/full")
    with pytest.raises((OutputError, CaptureError)):
        replay(office, loaded=everything, write_forwarded=tmp_path / "no" / "out.pcap")


def test_progress_is_told(office: Path, everything: LoadedRules) -> None:
    told: list[Any] = []
    result = replay(office, loaded=everything, settings=ALERTS_ONLY, progress=told.append)
    assert told and told[-1].packets == result.summary.packets
    assert [p.packets for p in told] == sorted(p.packets for p in told)


def test_pace_follows_the_clock(tmp_path: Path, everything: LoadedRules) -> None:
    import time

    frames = [traffic.udp(b"x")] * 200
    write_capture(tmp_path / "c.pcap", frames, [traffic.START_NS + n * 10 * MS for n in range(200)])
    start = time.monotonic()
    result = replay(tmp_path / "c.pcap", loaded=everything, speed="4x")
    took = time.monotonic() - start
    # 1.99 s of traffic at 4x; the last batch of up to 64 frames goes at once
    assert 0.28 <= took <= 5 and result.summary.packets == 200
    assert result.eve == replay(tmp_path / "c.pcap", loaded=everything).eve


# ---- the ledger over every capture there is --------------------------------------------


def distinct(folder: Path) -> Iterator[Path]:
    import hashlib

    seen = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".pcap", ".pcapng", ".cap", ".gz", ".zst") and path.is_file():
            digest = hashlib.sha1(path.read_bytes()).digest()
            if digest not in seen:
                seen.add(digest)
                yield path


QUIET = Settings.load(sets=["outputs.eve.types=drop"])


def check_ledger(path: Path, rules: LoadedRules, **options: Any) -> int:
    result = replay(path, loaded=rules, settings=QUIET, **options)
    assert balanced(result), path
    assert sum(result.summary.reasons.values()) == result.summary.packets, path
    return result.summary.packets


@pytest.mark.parametrize("inline", [False, True])
def test_the_ledger_balances_on_the_captures_of_the_repository(
    captures: Path, demo: LoadedRules, inline: bool
) -> None:
    paths = list(distinct(captures))
    assert len(paths) > 20
    assert sum(check_ledger(path, demo, inline=inline) for path in paths) > 7687


@pytest.mark.parametrize("inline", [False, True])
def test_the_ledger_balances_on_every_shared_capture(
    shared: Path, demo: LoadedRules, inline: bool
) -> None:
    paths = [*distinct(shared / "captures"), *distinct(shared / "conformance")]
    if not paths:
        pytest.skip(f"no captures in {shared}")
    for path in paths:
        check_ledger(path, demo, inline=inline, checksum_validation=not inline,
                     capacity_pps=2000 if inline else 0)  # fmt: skip


def test_verdict_values_are_those_of_the_summary(everything: LoadedRules) -> None:
    result = replay(VARIANTS / "plain.pcap", loaded=everything)
    assert list(result.summary.verdicts) == [v.name.lower() for v in Verdict]
    assert np.sum(list(result.summary.verdicts.values())) == 40
    assert Counter(result.summary.reasons) == {"inspected": 40}


# ---- ended by the operator -------------------------------------------------------------


def test_a_run_that_is_stopped_is_as_one_of_the_packets_before(
    office: Path, tmp_path: Path, demo: LoadedRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_capture = run_module.open_capture

    def in_small_batches(path: Any) -> Any:
        reader = open_capture(path)
        batches = reader.batches
        reader.batches = lambda max_frames=100: batches(100)  # type: ignore[method-assign]
        return reader

    monkeypatch.setattr(run_module, "open_capture", in_small_batches)
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(len(asked) > 20)
        return asked[-1]

    out = tmp_path / "out.pcap"
    result = replay(office, loaded=demo, stop=stop, write_forwarded=out, inline=True, loops=3,
                    switches=[Switch(State.FALLBACK, at_frame=10**6)])  # fmt: skip
    s = result.summary
    assert not result.ok and [fault.kind for fault in s.errors] == ["Interrupted"]
    assert 1000 < s.received < office_frames() and s.received % 100 == 0 and balanced(result)
    (ledger,) = events(result, "ledger")
    assert ledger["ledger"]["received"]["packets"] == s.received
    assert len(events(result, "stats")) == 1 and len(events(result, "flow")) == s.flows
    assert len(list(frames_of(out))) == s.received - s.blocked
    assert [switch.at_frame for switch in result.not_reached] == [10**6]
