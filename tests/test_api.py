"""The Python API: what `import nsdata` gives, and the engine over buffers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traffic
from traffic import Talk

import nsdata
from nsdata import Engine, EngineError, Settings, Verdict
from nsdata.fallback.reasons import State

RULES = """
    drop udp any any -> any 53 (content:"evil"; msg:"bad"; sid:1;)
    alert tcp any any -> any any (flow:established; content:"foobar"; flowbits:set,f; sid:2;)
"""
EVIL, GOOD = traffic.udp(b"evil", dport=53), traffic.udp(b"good", dport=53)


def sids(engine: Engine) -> list[int]:
    return [e["alert"]["signature_id"] for e in engine.events() if e["event_type"] == "alert"]


def test_public_names_are_there_and_typed() -> None:
    assert all(hasattr(nsdata, name) for name in nsdata.__all__)
    assert sorted(nsdata.__all__) == nsdata.__all__
    package = Path(nsdata.__file__).parent
    assert (package / "py.typed").exists()
    doors = ("engine", "decode", "flow", "stream", "defrag", "records", "rulebase", "events")
    assert all((package / "path" / f"{name}.pyi").exists() for name in doors)


def test_every_error_is_an_nsdata_error() -> None:
    for name in nsdata.__all__:
        thing = getattr(nsdata, name)
        if isinstance(thing, type) and issubclass(thing, Exception):
            assert issubclass(thing, nsdata.NsdataError)


def test_importing_is_free_of_side_effects() -> None:
    code = (
        "import nsdata, sys; "
        "print(sorted(m for m in ('typer', 'scapy', 'dpkt') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]" and done.stderr == ""


def test_verdicts_are_a_numpy_array_of_verdict() -> None:
    engine = Engine(RULES, inline=True)
    verdicts = engine.inspect([EVIL, GOOD, b""])
    assert isinstance(verdicts, np.ndarray) and verdicts.dtype == np.uint8
    assert [Verdict(v) for v in verdicts] == [Verdict.DROP, Verdict.PASS, Verdict.PASS]
    kept = verdicts.copy()
    engine.inspect([GOOD] * 3)
    assert (verdicts == kept).all()  # a copy, not a window on what comes next
    assert engine.ledger.received.packets == 6 and engine.ledger.blocked.packets == 1


def test_without_inline_nothing_is_dropped() -> None:
    engine = Engine(RULES)
    assert engine.inspect([EVIL, GOOD]).tolist() == [0, 0]
    assert sids(engine) == [1]


def test_events_are_given_once() -> None:
    engine = Engine(RULES, inline=True)
    engine.inspect([EVIL], ts_ns=traffic.START_NS)
    alert = next(e for e in engine.events() if e["event_type"] == "alert")
    assert alert["alert"]["signature"] == "bad" and alert["pcap_cnt"] == 1
    assert alert["timestamp"].startswith("2023-11-14T22:13:20.000000")
    assert engine.events() == []


def test_streams_span_calls_and_finish_inspects_the_rest() -> None:
    engine = Engine(RULES)
    for frame in Talk().open().client(b"foo", b"bar").frames:
        engine.inspect([frame], ts_ns=traffic.START_NS)
    assert sids(engine) == []
    engine.finish()
    assert sids(engine) == [2]


def test_rules_from_a_path_from_several_and_from_text(tmp_path: Path) -> None:
    lines = [line.strip() for line in RULES.strip().splitlines()]
    for number, line in enumerate(lines):
        (tmp_path / f"{number}.rules").write_text(line + "\n")
    paths = sorted(tmp_path.glob("*.rules"))
    for rules, fires in ((paths, [1]), (paths[0], [1]), (str(paths[0]), [1]), (lines[0], [1]),
                         ("", []), (paths[1], [])):  # fmt: skip
        engine = Engine(rules)
        engine.inspect([EVIL])
        assert sids(engine) == fires
    with pytest.raises(nsdata.RuleError):
        Engine(tmp_path / "absent.rules")


def test_refused_rules_are_told_and_the_rest_run() -> None:
    engine = Engine(RULES + "alert nonsense any any -> any any (sid:9;)\n")
    assert len(engine.refused) == 1 and "nonsense" in engine.refused[0]
    engine.inspect([EVIL])
    assert sids(engine) == [1]


def test_fallback_and_restore_by_hand() -> None:
    engine = Engine(RULES, inline=True)
    engine.inspect([EVIL], ts_ns=traffic.START_NS)
    (entered,) = engine.fallback()
    assert engine.state is State.FALLBACK and entered.to_state is State.FALLBACK
    assert engine.inspect([EVIL], ts_ns=traffic.START_NS + 10).tolist() == [0]
    (left,) = engine.restore()
    assert engine.state is State.NORMAL and left.to_state is State.NORMAL
    assert engine.inspect([EVIL], ts_ns=traffic.START_NS + 20).tolist() == [1]
    kinds = [e["event_type"] for e in engine.events()]
    assert kinds.count("fallback") == 2
    ledger = engine.ledger
    assert (ledger.received.packets, ledger.blocked.packets, ledger.bypassed.packets) == (3, 2, 1)


def test_reload_keeps_flows_streams_and_flowbits() -> None:
    engine = Engine(RULES, inline=True)
    talk = Talk().open().client(b"foobar", b"la")
    engine.inspect(talk.frames, ts_ns=traffic.START_NS)
    assert sids(engine) == [2]
    engine.reload(
        'alert tcp any any -> any any (content:"la"; flowbits:isset,g; sid:3;)\n'
        'alert tcp any any -> any any (content:"later"; flowbits:isset,f; sid:4;)\n'
        'alert udp any any -> any any (content:"x"; flowbits:set,g; sid:5;)\n'
    )
    more = len(talk.frames)
    engine.inspect(talk.client(b"ter").frames[more:], ts_ns=traffic.START_NS + 10**9)
    assert sids(engine) == [4]
    assert engine.ledger.received.packets == len(talk.frames)


def test_a_reload_that_fails_leaves_the_old_rules() -> None:
    engine = Engine(RULES)
    with pytest.raises(nsdata.RuleError):
        engine.reload(Path("/absent.rules"))
    engine.inspect([EVIL])
    assert sids(engine) == [1]


def test_over_subscription_trips_the_guard() -> None:
    settings = Settings.load(sets=["drop-meter.minimum-packets=100"])
    engine = Engine(RULES, settings=settings, capacity_pps=10, queue=1)
    times = traffic.START_NS + np.arange(3000, dtype=np.uint64) * np.uint64(traffic.MS)
    verdicts = engine.inspect([GOOD] * 3000, ts_ns=times)
    assert engine.state is State.FALLBACK
    assert Verdict.LOST in verdicts and verdicts[-1] == Verdict.PASS
    said = [e["fallback"] for e in engine.events() if e["event_type"] == "fallback"]
    assert said[0]["evidence"]["attribution"] == "over-subscription"


@pytest.mark.parametrize(
    ("frames", "options", "error"),
    [
        ([GOOD] * 2, {"ts_ns": [1]}, EngineError),
        ([GOOD], {"ts_ns": [1, 2]}, EngineError),
        ([GOOD], {"ts_ns": "noon"}, (TypeError, ValueError)),
        ([GOOD], {"linktype": 2**20}, (EngineError, OverflowError, ValueError)),
        (["text"], {}, TypeError),
        ([None], {}, TypeError),
    ],
)
def test_misuse_is_an_error_and_takes_no_packet(
    frames: list[Any], options: dict[str, Any], error: Any
) -> None:
    engine = Engine(RULES)
    with pytest.raises(error):
        engine.inspect(frames, **options)
    assert engine.ledger.received.packets == 0


def test_no_frames() -> None:
    engine = Engine(RULES)
    assert engine.inspect([]).shape == (0,)
    engine.finish()
    assert engine.ledger.received.packets == 0


def test_replay_is_the_same_pipeline(captures: Path, tmp_path: Path) -> None:
    from capture_frames import frames_of

    path = captures / "variants" / "plain.pcap"
    rules = tmp_path / "r.rules"
    rules.write_text("alert ip any any -> any any (ttl:>0; sid:1;)\n")
    replayed = nsdata.replay(path, rules)
    engine = Engine(rules)
    found = list(frames_of(path))
    engine.inspect([data for _, data in found], ts_ns=[ts for ts, _ in found])
    engine.finish()
    assert len(sids(engine)) == replayed.summary.alerts > 0
    assert engine.ledger.received.packets == replayed.summary.packets == 40


def test_text_without_brackets_is_rule_text_unless_it_names_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (refusal,) = nsdata.Engine("bad rule").refused
    assert "<rules>:1" in refusal and "no options" in refusal
    (tmp_path / "my rules").write_text("alert udp any any -> any any (ttl:>0; sid:1;)\n")
    assert nsdata.Engine("my rules").refused == []
    for absent in ("absent.rules", "my absent.rules", "absent"):
        with pytest.raises(nsdata.RuleError, match=rf"^{absent}: cannot read"):
            nsdata.Engine(absent)
