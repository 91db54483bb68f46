"""`nsdata offload compile` and `show`: what they write, say and refuse."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from nsdata import cli
from nsdata.offload.image import PrefilterImage

RULES = """
alert tcp any any -> any 80 (msg:"long"; content:"needle in hay"; sid:1;)
alert tcp any any -> any any (msg:"short"; content:"ab"; sid:3;)
alert tcp any any -> any any (msg:"header"; flags:S; sid:6;)
alert tcp any any -> any any (msg:"refused"; nonsense; sid:7;)
"""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["nsdata", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "some.rules"
    path.write_text(RULES)
    return path


def test_compile_and_show(monkeypatch, capsys, tmp_path: Path, rules: Path) -> None:
    image, report = tmp_path / "a.nsd", tmp_path / "a.json"
    arguments = (rules, "-o", image, "--buckets", 256, "--words", 2, "--report", report)
    assert run(monkeypatch, "offload", "compile", *arguments) == 0
    said = capsys.readouterr()
    assert f"wrote{image}" in "".join(said.out.split())  # the title may be folded
    loaded = PrefilterImage.load(image)
    assert (loaded.buckets_log2, loaded.words) == (8, 2)
    assert loaded.prefilter().hit(b"xx needle in hay xx")
    assert json.loads(report.read_text()) == loaded.report
    assert f"0x{loaded.signature:08x}" in said.out
    assert "tcp all ports" in said.out
    assert "every frame of their protocol SUSPECT" in said.err and "sid 3" in said.err
    assert "1 rules were refused" in said.err

    assert run(monkeypatch, "offload", "compile", *arguments, "--leave-common", 1) == 0
    assert "tcp all ports" not in capsys.readouterr().out
    assert len(PrefilterImage.load(image).report["always"]) == 2
    assert run(monkeypatch, "offload", "compile", *arguments) == 0
    capsys.readouterr()

    assert run(monkeypatch, "offload", "show", image) == 0
    assert f"0x{loaded.signature:08x}" in capsys.readouterr().out
    assert run(monkeypatch, "offload", "show", image, "--json") == 0
    assert json.loads(capsys.readouterr().out)["signature"] == loaded.signature
    assert run(monkeypatch, "offload", "show", image, "--software") == 0
    assert "sid 6" in capsys.readouterr().out
    assert run(monkeypatch, "offload", "show", image, "--entries") == 0
    (line,) = capsys.readouterr().out.splitlines()
    address, *words = line.split()
    assert tuple(int(word, 16) for word in words) == loaded.entry(int(address))


def test_a_list_of_patterns_and_a_sample(monkeypatch, capsys, tmp_path: Path, office: Path) -> None:
    patterns, image = tmp_path / "list", tmp_path / "a.nsd"
    patterns.write_text("i6e6565646c65\n")
    arguments = ("--patterns", patterns, "--sample", office, "-o", image, "--report", "-")
    assert run(monkeypatch, "offload", "compile", *arguments, "--seed", "0x10") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["sample_frames"], report["seed"]) == (7687, 16)
    assert PrefilterImage.load(image).prefilter().hit(b"NEEDLE")


def test_tunnels_the_block_does_not_know(monkeypatch, capsys, tmp_path: Path, rules: Path) -> None:
    """Behind another VXLAN port stand inner ports that the block cannot see."""
    image = tmp_path / "a.nsd"
    arguments = (rules, "-o", image, "--set", "decoder.vxlan.ports=[4789,8472]")
    assert run(monkeypatch, "offload", "compile", *arguments) == 0
    assert [(one.low, one.high) for one in PrefilterImage.load(image).ranges if one.udp] == [
        (8472, 8472)
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("{rules}", "--buckets", "1000"), 2, "powers of two"),
        (("{rules}", "--seed", "x"), 2, "--seed x"),
        (("{rules}", "--seed", str(1 << 32)), 2, "0xffffffff"),
        (("{rules}", "--patterns", "{rules}"), 2, "not both"),
        ((), 2, "not both"),
        (("{rules}", "-o", "{rules}"), 2, "is read, so it cannot be written"),
        (("{rules}", "--report", "{image}"), 2, "same file"),
        (("{rules}", "--leave-common", "0"), 2, "--leave-common 0"),
        (("{rules}", "--words", "9"), 1, "words 9"),
        (("--patterns", "{rules}"), 1, "bytes in hex"),
        (("{rules}", "-o", "{rules}/x"), 1, "cannot be written"),
    ],
)
def test_misuse(monkeypatch, capsys, tmp_path: Path, rules: Path, arguments, status, words) -> None:
    image = tmp_path / "image"
    filled = [one.format(rules=rules, image=image) for one in arguments]
    if "-o" not in filled:
        filled += ["-o", str(image)]
    assert run(monkeypatch, "offload", "compile", *filled) == status
    assert words in capsys.readouterr().err
    assert not image.exists()
    assert rules.read_text() == RULES


def test_what_does_not_fit_writes_nothing(monkeypatch, capsys, tmp_path: Path) -> None:
    patterns, image = tmp_path / "list", tmp_path / "image"
    patterns.write_text("".join(f"s{i:08x}\n" for i in range(99)))
    arguments = ("--patterns", patterns, "--buckets", 16, "-o", image)
    assert run(monkeypatch, "offload", "compile", *arguments) == 1
    said = capsys.readouterr().err
    assert "list pattern" in said and "--buckets 64" in said
    assert not image.exists()


def test_show_what_is_no_image(monkeypatch, capsys, rules: Path, tmp_path: Path) -> None:
    assert run(monkeypatch, "offload", "show", rules) == 1
    assert "no image" in capsys.readouterr().err
    assert run(monkeypatch, "offload", "show", tmp_path / "none") == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_replay_with_the_block(monkeypatch, capsys, tmp_path: Path, office: Path) -> None:
    demo = Path(__file__).parents[2] / "demo" / "demo.rules"
    image, summary = tmp_path / "a.nsd", tmp_path / "s.json"
    assert run(monkeypatch, "offload", "compile", demo, "-o", image) == 0
    arguments = ("replay", office, "-r", demo, "--summary", summary, "--offload", "model")
    more = ("--offload-image", image, "--offload-check-share", "0.5")
    assert run(monkeypatch, *arguments, *more) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "clear or bypass" in said and "spare nothing" not in said
    assert re.search(r"searches spared [\d.]+ % of [\d.]+ kB to search", said)
    part = json.loads(summary.read_text())["offload"]
    assert sum(part["verdicts"].values()) == 7687 and part["checks"] > 100
    assert part["transport"] == "model"


def test_tables_of_other_rules_are_noticed(
    monkeypatch, capsys, tmp_path: Path, office: Path, rules: Path
) -> None:
    patterns, image = tmp_path / "list", tmp_path / "other.nsd"
    patterns.write_text("s6f74686572\n")
    assert run(monkeypatch, "offload", "compile", "--patterns", patterns, "-o", image) == 0
    arguments = ("replay", office, "-r", rules, "--offload", "model", "--offload-image", image)
    assert run(monkeypatch, *arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "rules covered 0 of 3: its tables are of none of these rules, and spare nothing" in said


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--offload", "rtl:100"), 1, "legal are 64 and 512"),
        (("--offload", "pcie:0000:fe:1f.7"), 1, "no device"),
        (("--offload", "model", "--set", "offload.heartbeat=11s"), 2, "offload.heartbeat"),
        (("--offload", "card"), 2, "legal are model"),
        (("--offload-image", "x.nsd"), 2, "give --offload as well"),
        (("--offload", "model", "--offload-image", "x.nsd"), 1, "cannot be read"),
        (("--offload", "model", "--fpga-failure", "panic"), 2, "offload.on-failure"),
    ],
)
def test_a_replay_misused(monkeypatch, capsys, rules: Path, office: Path, arguments, status, words):
    assert run(monkeypatch, "replay", office, "-r", rules, *arguments) == status
    assert words in capsys.readouterr().err
