"""The command line: exit status, one-line messages, what is written where."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import traffic
from capture_frames import frames_of, write_capture

from nsdata import cli
from nsdata.cli.values import parse_capacity, parse_switches
from nsdata.errors import SettingError
from nsdata.fallback.reasons import State

ROOT = Path(__file__).parents[1]
VARIANTS = ROOT / "tests" / "captures" / "variants"
PLAIN = VARIANTS / "plain.pcap"
RULE = 'alert ip any any -> any any (msg:"any"; ttl:>0; sid:1;)\n'


class Done:
    """What a command came to."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def said(self) -> str:
        """The one line on standard error."""
        (line,) = [line for line in self.err.splitlines() if line.strip()]
        return line


@pytest.fixture
def nsdata(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run the command line in this process: `nsdata("info", path)`."""

    def run(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["nsdata", *map(str, words)])
        capfd.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Done(status, out, err)

    return run


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "any.rules"
    path.write_text(RULE)
    return path


def eve_lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_bytes()
    assert text == b"" or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


# ---- replay ----------------------------------------------------------------------------


def test_replay_writes_eve_summary_and_forwarded(nsdata: Any, rules: Path, tmp_path: Path) -> None:
    done = nsdata("replay", PLAIN, "-r", rules, "--eve", tmp_path / "eve.json",
                  "--summary", tmp_path / "s.json", "--write-forwarded", tmp_path / "f.pcap",
                  "--inline")  # fmt: skip
    assert done.status == 0
    alerts = [e for e in eve_lines(tmp_path / "eve.json") if e["event_type"] == "alert"]
    summary = json.loads((tmp_path / "s.json").read_text())
    wanted = {
        "packets",
        "bytes",
        "received",
        "inspected",
        "bypassed",
        "blocked",
        "lost",
        "alerts",
        "seconds",
        "rules_loaded",
        "rules_refused",
        "state",
        "reason",
        "transitions",
    }
    assert wanted <= set(summary)
    assert summary["packets"] == summary["received"] == 40
    assert summary["alerts"] == len(alerts) > 0
    forwarded = list(frames_of(tmp_path / "f.pcap"))
    assert len(forwarded) == 40 - summary["blocked"] - summary["lost"]
    assert set(forwarded) <= set(frames_of(PLAIN))
    assert re.search(r"packets\W+40", done.out)


def test_quiet_says_nothing(nsdata: Any, rules: Path) -> None:
    done = nsdata("replay", PLAIN, "-r", rules, "-q")
    assert (done.status, done.out, done.err) == (0, "", "")


def test_eve_on_standard_output_is_nothing_but_eve(nsdata: Any, rules: Path) -> None:
    done = nsdata("replay", PLAIN, "-r", rules, "--eve", "-")
    kinds = [json.loads(line)["event_type"] for line in done.out.splitlines()]
    assert done.status == 0 and kinds.count("alert") >= 40 and kinds[-1] == "stats"


def test_summary_on_standard_output_is_json(nsdata: Any, rules: Path) -> None:
    done = nsdata("replay", PLAIN, "-r", rules, "--summary", "-")
    assert done.status == 0 and json.loads(done.out)["packets"] == 40


@pytest.mark.parametrize(
    ("name", "packets"), [("truncated.pcap", 39), ("truncated.pcapng", 39), ("corrupt.pcap", 19)]
)
def test_a_damaged_capture_is_status_1_and_what_was_whole_is_kept(
    nsdata: Any, rules: Path, tmp_path: Path, name: str, packets: int
) -> None:
    eve = tmp_path / "eve.json"
    done = nsdata("replay", VARIANTS / name, "-r", rules, "--eve", eve, "-q")
    assert done.status == 1
    assert re.search(rf"{re.escape(name)}: byte \d+: ", done.said)
    cnt = {e["pcap_cnt"] for e in eve_lines(eve) if e["event_type"] == "alert" and "pcap_cnt" in e}
    assert cnt == set(range(1, packets + 1))


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["absent.pcap"], 1, "absent.pcap"),
        ([PLAIN, "-r", "absent.rules"], 1, "absent.rules"),
        ([PLAIN, "--capacity", "fast"], 2, "--capacity fast"),
        ([PLAIN, "--capacity", "0pps"], 2, "--capacity 0pps"),
        ([PLAIN, "--speed", "warp"], 2, "--speed warp"),
        ([PLAIN, "--speed", "-1x"], 2, "speed"),
        ([PLAIN, "--fallback-at", "#0"], 2, "--fallback-at #0"),
        ([PLAIN, "--fallback-at", "#x"], 2, "--fallback-at #x"),
        ([PLAIN, "--restore-at", "soon"], 2, "--restore-at soon"),
        ([PLAIN, "--restore-after", "soon"], 2, "--restore-after soon"),
        ([PLAIN, "--checksum-validation", "some"], 2, "--checksum-validation some"),
        ([PLAIN, "--set", "stream.midstreem=true"], 2, "stream.midstreem"),
        ([PLAIN, "--set", "stream.midstream=perhaps"], 2, "stream.midstream"),
        ([PLAIN, "--set", "nonsense"], 2, "nonsense"),
        ([PLAIN, "--config", "absent.toml"], 2, "absent.toml"),
        ([PLAIN, "--bypass-rules", "absent.toml"], 2, "absent.toml"),
        ([PLAIN, "--eve", "no/such/dir/eve.json"], 1, "no/such/dir/eve.json"),
        ([PLAIN, "--summary", "no/such/dir/s.json"], 1, "no/such/dir/s.json"),
        ([PLAIN, "--write-forwarded", "no/such/dir/f.pcap"], 1, "no/such/dir/f.pcap"),
        ([PLAIN, "--eve", "/dev/full"], 1, "/dev/full"),
        ([ROOT / "README.md"], 1, "README.md"),
        ([ROOT], 1, str(ROOT)),
        (["-"], 1, "standard input"),
        ([PLAIN, "--eve", "-", "--summary", "-"], 2, "--summary - and --eve -"),
        ([PLAIN, "--write-forwarded", "f.pcap.gz"], 2, "f.pcap.gz"),
        ([PLAIN, "-r", PLAIN], 1, "plain.pcap: this looks like a capture, not a rule file"),
        ([PLAIN, "-r", "absent.rules"], 1, "absent.rules: cannot read"),
        ([PLAIN, "--config", ROOT / "demo" / "bypass.toml"], 2, "--bypass-rules"),
        ([PLAIN, "--set", "drop-meter.window=1500ms"], 2, "window 1500ms"),
    ],
)
def test_mistakes_are_one_line(
    nsdata: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[Any], status: int,
    said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = nsdata("replay", *words, "-q")
    assert done.status == status, done.err
    assert done.said.startswith("nsdata: ") and said in done.said
    assert done.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ["replay"],
        ["replay", PLAIN, "--no-such-option"],
        ["replay", PLAIN, "--queue", "0"],
        ["replay", PLAIN, "--loops", "0"],
        ["nonsense"],
        ["rules", "check"],
    ],
)
def test_misuse_is_status_2(nsdata: Any, words: list[Any]) -> None:
    done = nsdata(*words)
    assert done.status == 2 and done.err


def test_a_write_that_fails_in_the_end_is_status_1(nsdata: Any, rules: Path) -> None:
    done = nsdata("replay", PLAIN, "-r", rules, "--summary", "/dev/full", "-q")
    assert done.status == 1 and "/dev/full" in done.said


def test_refused_rules_are_said_and_strict_refuses_to_run(
    nsdata: Any, rules: Path, tmp_path: Path
) -> None:
    rules.write_text(RULE + 'alert http any any -> any any (http.uri; content:"x"; sid:2;)\n')
    done = nsdata("replay", PLAIN, "-r", rules, "--eve", tmp_path / "eve.json")
    assert done.status == 0 and f"{rules}:2" in done.err
    done = nsdata("replay", PLAIN, "-r", rules, "--eve", tmp_path / "none.json", "--strict")
    assert done.status == 1 and "--strict" in done.err
    assert not (tmp_path / "none.json").exists()
    rules.write_text(RULE)
    assert nsdata("replay", PLAIN, "-r", rules, "--strict", "-q").status == 0


def test_settings_reach_the_engine(nsdata: Any, rules: Path, tmp_path: Path) -> None:
    write_capture(tmp_path / "m.pcap", traffic.Talk().client(b"foo", b"bar").frames,
                  [traffic.START_NS + n for n in range(4)])  # fmt: skip
    rules.write_text('alert tcp any any -> any any (content:"foobar"; sid:1;)\n')
    for sets, alerts in (([], 0), (["--set", "stream.midstream=true"], 1)):
        done = nsdata("replay", tmp_path / "m.pcap", "-r", rules, "--summary", "-", *sets)
        assert json.loads(done.out)["alerts"] == alerts


def test_checksums_are_validated_or_not(nsdata: Any, rules: Path, tmp_path: Path) -> None:
    frames = traffic.Talk().open().client(b"foo", b"bar").frames
    frames[5] = frames[5][:-1] + b"x"
    write_capture(tmp_path / "c.pcap", frames, [traffic.START_NS + n for n in range(len(frames))])
    rules.write_text('alert tcp any any -> any any (content:"foobax"; sid:1;)\n')
    for how, alerts in (("all", 0), ("none", 1)):
        done = nsdata("replay", tmp_path / "c.pcap", "-r", rules, "--summary", "-",
                      "--checksum-validation", how)  # fmt: skip
        assert json.loads(done.out)["alerts"] == alerts


def test_fallback_and_restore_by_hand(nsdata: Any, rules: Path, tmp_path: Path) -> None:
    frames = [traffic.udp(b"x", ident=n) for n in range(1, 31)]
    write_capture(tmp_path / "c.pcap", frames,
                  [traffic.START_NS + n * traffic.SECOND for n in range(30)])  # fmt: skip
    for words in (("--fallback-at", "#11", "--restore-at", "#21"),
                  ("--fallback-at", "10s", "--restore-at", "20s")):  # fmt: skip
        done = nsdata("replay", tmp_path / "c.pcap", "-r", rules, "--eve", "-", *words)
        lines = [json.loads(line) for line in done.out.splitlines()]
        inspected = [e["pcap_cnt"] for e in lines if e["event_type"] == "alert"]
        assert inspected == [*range(1, 11), *range(21, 31)]
        said = [e["fallback"]["state"] for e in lines if e["event_type"] == "fallback"]
        assert said == ["fallback", "normal"]


def test_over_subscribed_twice_is_the_same_bytes(
    nsdata: Any, office: Path, root: Path, tmp_path: Path
) -> None:
    written = []
    for name in ("one", "two"):
        out = tmp_path / name
        out.mkdir()
        done = nsdata("replay", office, "-r", root / "demo" / "demo.rules", "--inline",
                      "--capacity", "30pps", "--queue", "64", "--restore-after", "7s",
                      "--eve", out / "eve.json", "--summary", out / "s.json",
                      "--write-forwarded", out / "f.pcap", "-q")  # fmt: skip
        assert done.status == 0
        written.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert written[0] == written[1] and len(written[0]) == 3


def test_an_output_that_is_an_input_is_refused(nsdata: Any, rules: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[stream]\nmidstream = true\n")
    for option in ("--eve", "--summary", "--write-forwarded"):
        for path in (rules, config):
            before = path.read_bytes()
            done = nsdata("replay", PLAIN, "-r", rules, "--config", config, option, path)
            assert done.status == 2 and option in done.said and path.read_bytes() == before
            assert ("--config" if path is config else "--rules") in done.said


def test_what_cannot_be_read_is_said_once_and_without_tables(nsdata: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").touch()
    for name in ("absent.pcap", "empty.pcap"):
        done = nsdata("replay", tmp_path / name)
        assert done.status == 1 and name in done.said and done.out == ""
    done = nsdata("replay", VARIANTS / "truncated.pcap")
    assert done.status == 1 and "truncated.pcap: byte" in done.said
    assert "truncated.pcap" not in done.out and "received" in done.out
    write_capture(tmp_path / "none.pcap", [], [])
    done = nsdata("replay", tmp_path / "none.pcap")
    assert done.status == 0 and "no packets" in done.said and done.out == ""


def test_offsets_of_compressed_captures_are_of_the_decompressed_data(nsdata: Any) -> None:
    for words in (("replay", "-q"), ("info",)):
        done = nsdata(*words, VARIANTS / "truncated.pcap.gz")
        assert done.status == 1
        assert re.search(r"truncated.pcap.gz: byte \d+ of the decompressed data: ", done.said)
        assert "decompressed" not in nsdata(*words, VARIANTS / "truncated.pcap").said


def test_nothing_from_files_steers_the_terminal(nsdata: Any, tmp_path: Path) -> None:
    capture = tmp_path / "a\x1b[31mb[red].pcap"
    capture.write_bytes(PLAIN.read_bytes())
    bad = tmp_path / "r\x1b]0;x\x07.rules"
    bad.write_text(
        'alert ip any any -> any any (msg:"m\x1b[2J\x9b3m"; ttl:>0; sid:1;)\n'
        "alert ip any any -> any any (x\x1b[2J:1; sid:2;)\n"
        'alert ip any any -> any any (requires:version "x\x1b[2J"; sid:3;)\n'
        "\x1b[2J\n"
    )
    absent = tmp_path / "no\x1b[2J.pcap"
    bypass = tmp_path / "b.toml"
    bypass.write_text('[[rule]]\nid = 1\nvlan = 4\nname = "n\\u001b[2J"\n')
    for words in (
        ("replay", capture, "-r", bad, "--bypass-rules", bypass), ("rules", "check", bad),
        ("info", capture), ("replay", absent), ("info", absent), ("rules", "check", absent),
        ("replay", capture, "--config", absent), ("replay", capture, "--set", "a\x1b[2J=1"),
    ):  # fmt: skip
        done = nsdata(*words)
        assert not set("\x1b\x07\x9b") & set(done.out + done.err), words
    assert "b[red].pcap" in re.sub(r"\s*\n", "", nsdata("info", capture).out)  # may be folded


def test_options_without_effect_are_noted(nsdata: Any, rules: Path) -> None:
    def notes(*words: str) -> list[str]:
        done = nsdata("replay", PLAIN, "-r", rules, "-q", *words)
        assert done.status == 0
        return done.err.splitlines()

    (note,) = notes("--queue", "3")
    assert "--queue" in note and "--capacity" in note
    assert notes("--queue", "3", "--capacity", "1Mpps") == []
    (note,) = notes("--fallback-at", "#41")
    assert "--fallback-at #41 was never reached: 40 packets" in note
    assert notes("--fallback-at", "#40") == []
    (note,) = notes("--fallback-at", "#3", "--restore-at", "1h")
    assert "--restore-at 1h was never reached" in note
    (note,) = notes("--restore-at", "#5")
    assert "--restore-at" in note and "packet 5" in note and "not in fallback" in note
    (note,) = notes("--force-restore")
    assert "--force-restore" in note


def test_hits_of_bypass_rules_are_in_summary_and_table(
    nsdata: Any, rules: Path, tmp_path: Path
) -> None:
    frames = [traffic.udp(b"x", dport=port) for port in (1, 2, 2, 3, 3, 3)]
    write_capture(tmp_path / "c.pcap", frames, [traffic.START_NS + n for n in range(6)])
    bypass = tmp_path / "b.toml"
    bypass.write_text(
        '[[rule]]\nid = 7\nname = "two"\nprotocol = "udp"\ndst-port = 2\n'
        '[[rule]]\nid = 4\nname = "three"\nprotocol = "udp"\ndst-port = 3\naction = "block"\n'
        "[[rule]]\nid = 5\nvlan = 9\n"
    )
    done = nsdata("replay", tmp_path / "c.pcap", "-r", rules, "--inline", "--bypass-rules", bypass,
                  "--summary", tmp_path / "s.json")  # fmt: skip
    assert done.status == 0
    assert json.loads((tmp_path / "s.json").read_text())["bypass_rules"] == [
        {"id": 7, "name": "two", "action": "bypass", "hits": 2},
        {"id": 4, "name": "three", "action": "block", "hits": 3},
        {"id": 5, "name": "", "action": "bypass", "hits": 0},
    ]
    assert re.search(r"4\s+block\s+3\s+three", done.out)
    done = nsdata("replay", tmp_path / "c.pcap", "-r", rules)
    assert "bypass rules" not in done.out.lower()


def test_blocked_for_want_of_a_handshake_is_explained(
    nsdata: Any, rules: Path, tmp_path: Path
) -> None:
    frames = traffic.Talk().client(b"foo", b"bar", b"baz").frames
    write_capture(tmp_path / "m.pcap", frames, [traffic.START_NS + n for n in range(len(frames))])
    done = nsdata("replay", tmp_path / "m.pcap", "-r", rules, "--inline")
    words = " ".join(done.out.split())
    assert f"{len(frames)} packets were blocked because their TCP handshake was not" in words
    assert "--set stream.midstream=true" in words
    for sets in ("stream.midstream=true", "stream.midstream-policy=ignore"):
        done = nsdata("replay", tmp_path / "m.pcap", "-r", rules, "--inline", "--set", sets)
        assert "handshake" not in done.out


# ---- rules check, info -----------------------------------------------------------------


def test_rules_check(nsdata: Any, rules: Path) -> None:
    done = nsdata("rules", "check", rules)
    assert done.status == 0 and "1 of 1 rules loaded" in done.out and "image:" in done.out
    rules.write_text(RULE + "alert tcp any any -> any any (nonsense:1; sid:2;)\n# comment\nfoo\n")
    done = nsdata("rules", "check", rules)
    assert done.status == 0 and "1 of 3 rules loaded (33.3 %), 2 refused" in done.out
    assert f"{rules}:2:" in done.out and "nonsense" in done.out and f"{rules}:4" in done.out
    assert nsdata("rules", "check", rules, "--strict").status == 1
    assert nsdata("rules", "check", rules, "--no-compile").out.count("image:") == 0
    rules.write_text("")
    assert "0 of 0 rules loaded, 0 refused" in nsdata("rules", "check", rules).out
    done = nsdata("rules", "check", PLAIN)
    assert done.status == 1 and "looks like a capture" in done.said and ":0" not in done.said
    done = nsdata("rules", "check", rules.parent / "absent.rules")
    assert done.status == 1 and "absent.rules" in done.said


def test_info(nsdata: Any) -> None:
    done = nsdata("info", PLAIN, VARIANTS / "sll.pcap")
    assert done.status == 0
    assert re.search(r"frames\s+40", done.out)
    assert "Ethernet (link type 1): 40 frames" in done.out and "Interface(" not in done.out
    assert "Linux cooked (SLL) (link type 113)" in done.out and "times in microsec" in done.out
    done = nsdata("info", VARIANTS / "truncated.pcap")
    assert done.status == 1 and re.search(r"frames\s+39", done.out) and "byte " in done.said
    assert nsdata("info", "absent.pcap").status == 1


def test_version(nsdata: Any) -> None:
    done = nsdata("--version")
    assert done.status == 0 and re.fullmatch(r"nsdata \d+\.\d+\.\d+\n", done.out)


def test_help_names_the_verbs(nsdata: Any) -> None:
    done = nsdata("--help")
    assert done.status == 0 and all(verb in done.out for verb in ("replay", "rules", "info"))


# ---- values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rate"),
    [("500pps", 500), ("200kpps", 200e3), ("1.5Mpps", 1.5e6), (".5 kpps", 500), ("1KPPS", None)],
)
def test_capacities(text: str, rate: float | None) -> None:
    if rate is None:
        with pytest.raises(SettingError):
            parse_capacity(text)
    else:
        assert parse_capacity(text) == rate


@pytest.mark.parametrize("text", ["", "5", "pps", "-5pps", "5 bps", "1e3pps", "2000Mpps", "nanpps"])
def test_no_capacities(text: str) -> None:
    with pytest.raises(SettingError):
        parse_capacity(text)


def test_switches() -> None:
    one, two = parse_switches(["#7"], ["1.5s"], True)
    assert (one.to, one.at_frame, one.at_ns, one.force) == (State.FALLBACK, 7, None, True)
    assert (two.to, two.at_frame, two.at_ns) == (State.NORMAL, None, 1_500_000_000)
