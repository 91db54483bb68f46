"""The summary: members the users rely on, order, balance, writing whole or not at all."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from nsdata.errors import OutputError
from nsdata.output.summary import Summary, Transition

PROMISED = [
    "packets", "bytes", "received", "inspected", "bypassed", "blocked", "lost", "alerts",
    "seconds", "rules_loaded", "rules_refused", "state", "reason", "transitions",
]  # fmt: skip
FULL = {
    "packets": 10,
    "bytes": 1000,
    "received": 10,
    "inspected": 4,
    "bypassed": 3,
    "blocked": 2,
    "lost": 1,
    "seconds": 0.5,
    "reasons": {"inspected": 4, "fallback": 3, "rule_drop": 2, "oversubscribed": 1},
    "transitions": [{"from": "normal", "to": "fallback", "evidence": {"r": float("inf")}}],
}


def test_members_and_their_order():
    text = Summary.model_validate(FULL).to_json()
    assert list(json.loads(text))[: len(PROMISED)] == PROMISED
    assert json.loads(text)["transitions"][0]["from"] == "normal"
    assert json.loads(text)["transitions"][0]["evidence"] == {"r": None}
    assert json.loads(text)["packets_per_second"] == 20
    assert json.loads(text)["bits_per_second"] == 16000
    assert text == Summary.model_validate(dict(reversed(FULL.items()))).to_json()
    assert Summary().packets_per_second == 0


def test_it_must_balance():
    with pytest.raises(ValidationError, match="received 10 ≠ 9 accounted for"):
        Summary.model_validate({**FULL, "lost": 0})
    with pytest.raises(ValidationError, match="received 10 ≠ 9 by reason"):
        Summary.model_validate({**FULL, "reasons": {"inspected": 9}})
    with pytest.raises(ValidationError):
        Summary.model_validate({"speed": 1})


def test_transition_takes_what_the_controller_gives():
    given = {"sequence": 1, "at_ns": 5, "at_packet": 2, "from": "normal", "to": "fallback",
             "outcome": "entered", "input": "x", "reason": "threshold error"}  # fmt: skip
    kept = json.loads(Transition.model_validate(given).model_dump_json(by_alias=True))
    assert given.items() <= kept.items()


def test_writing(tmp_path, capsys):
    path = tmp_path / "s.json"
    path.write_text("old")
    summary = Summary.model_validate(FULL)
    summary.write(path)
    assert path.read_text() == summary.to_json()
    assert list(tmp_path.iterdir()) == [path]
    summary.write("-")
    assert capsys.readouterr().out == summary.to_json()
    with pytest.raises(OutputError, match="create the directory first"):
        summary.write(tmp_path / "no" / "s.json")
    with pytest.raises(OutputError, match="No space left"):
        summary.write("/dev/full")
    target = tmp_path / "dir"
    target.mkdir()
    with pytest.raises(OutputError, match="dir: cannot write"):
        summary.write(target)
    assert not list(Path(tmp_path).glob(".*"))
