"""A manager's commands at a control socket: what is asked, what answers mean, what takes time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest

from nsdata.appliance.agent.journal import Journal
from nsdata.appliance.agent.orders import Orders, clock_s
from nsdata.appliance.control import Control
from nsdata.appliance.protocol import Command, CommandKind, Result
from nsdata.errors import EngineError, OutputError


class Asked:
    """A control socket that answers what it is told to."""

    def __init__(self, directory: Path) -> None:
        self.messages: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}
        self.control = Control(directory / "control.sock", self.answer)
        self.ending = Event()
        self.thread = Thread(target=self.serve)
        self.thread.start()

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        self.messages.append(message)
        found = self.answers.get(message["command"])
        if found is None:
            raise EngineError(f"there is no command {message['command']!r}")
        return dict(found)

    def serve(self) -> None:
        while not self.ending.wait(0.005):
            self.control.serve()

    def close(self) -> None:
        self.ending.set()
        self.thread.join()
        self.control.close()


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    found = Asked(tmp_path)
    yield found
    found.close()


def orders_in(directory: Path) -> Orders:
    return Orders(directory, Journal(directory / "agent.db"))


def only(results: list[Result]) -> Result:
    (found,) = results
    return found


def make(kind: CommandKind, **parameters: Any) -> Command:
    return Command(id=uuid4(), kind=kind, parameters=parameters)


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        (CommandKind.BYPASS, {"by": "user:anna"}, {"command": "fallback", "note": "user:anna"}),
        (CommandKind.BYPASS, {"by": "x", "note": "n"}, {"command": "fallback", "note": "n (x)"}),
        (CommandKind.INSPECT, {"force": True}, {"command": "restore", "force": True}),
        (CommandKind.RELOAD, {}, {"command": "reload"}),
    ],
)
def test_what_is_asked(asked: Asked, tmp_path: Path, kind: CommandKind,
                       parameters: dict[str, Any], message: dict[str, Any]) -> None:  # fmt: skip
    asked.answers[message["command"]] = {"transitions": []}
    orders, command = orders_in(tmp_path), make(kind, **parameters)
    assert orders.carry_out(command)
    assert not orders.carry_out(command), "once"
    assert asked.messages == [message]
    result = only(orders.results(9))
    assert (result.id, result.outcome) == (command.id, "done")
    orders.told([result])
    assert orders.results(9) == []
    assert not orders_in(tmp_path).carry_out(command), "also after a restart"


@pytest.mark.parametrize(
    ("kind", "to", "outcome"),
    [(CommandKind.INSPECT, "fallback", "failed"), (CommandKind.INSPECT, "normal", "done"),
     (CommandKind.BYPASS, "fallback", "done")],
)  # fmt: skip
def test_a_refusal(asked: Asked, tmp_path: Path, kind: CommandKind, to: str, outcome: str) -> None:
    refusal = {"outcome": "refused", "to": to, "evidence": {"recheck": {"why": "it is hot"}}}
    asked.answers = {name: {"transitions": [refusal]} for name in ("restore", "fallback")}
    orders = orders_in(tmp_path)
    orders.carry_out(make(kind))
    result = only(orders.results(9))
    assert (result.outcome, result.error) == (outcome, "it is hot" if outcome == "failed" else "")


def test_an_appliance_that_does_not_know_it(asked: Asked, tmp_path: Path) -> None:
    orders = orders_in(tmp_path)
    orders.carry_out(make(CommandKind.REBOOT))
    result = only(orders.results(9))
    assert (result.outcome, result.error) == ("failed", "there is no command 'reboot'")


def test_a_report_takes_time(asked: Asked, tmp_path: Path) -> None:
    """It is asked after until it is over, also by the next agent."""
    orders = orders_in(tmp_path)
    command = make(CommandKind.SUPPORT_REPORT, destination="custom", url="u", by="user:anna")
    told = {"id": str(command.id), "error": ""}
    asked.answers = {"report": {**told, "state": "starting"},
                     "report-status": {**told, "state": "writing", "progress": 0.5}}  # fmt: skip
    orders.carry_out(command)
    assert asked.messages == [{"command": "report", "id": str(command.id), "by": "user:anna",
                               "to": "u", "packets": False}]  # fmt: skip
    result = only(orders.results(9))
    assert (result.outcome, result.progress) == ("running", 0.5)
    orders = orders_in(tmp_path)
    orders.resume()
    assert only(orders.results(9)).outcome == "running"
    asked.answers["report-status"] = {**told, "state": "done", "location": "x.tar.gz"}
    result = only(orders.results(9))
    assert (result.outcome, result.told["location"]) == ("done", "x.tar.gz")
    assert [one["command"] for one in asked.messages].count("report") == 1


@pytest.mark.parametrize(("error", "said"), [("no", "no"), ("", "failed")])
def test_a_reboot_takes_time_and_fails(asked: Asked, tmp_path: Path, error: str, said: str) -> None:
    orders, command = orders_in(tmp_path), make(CommandKind.REBOOT)
    told = {"id": str(command.id), "step": 2, "of": 4, "error": error}
    asked.answers = {"reboot": {"started": True, "reboot": {**told, "state": "running"}},
                     "reboot-status": {**told, "state": "running"}}  # fmt: skip
    orders.carry_out(command)
    result = only(orders.results(9))
    assert (result.outcome, result.progress) == ("running", 0.25)
    asked.answers["reboot-status"] = {**told, "state": "failed"}
    result = only(orders.results(9))
    assert (result.outcome, result.error) == ("failed", said)


def test_a_reboot_while_another_runs_is_none(asked: Asked, tmp_path: Path) -> None:
    orders = orders_in(tmp_path)
    asked.answers = {"reboot": {"started": False, "reboot": {"id": "first", "state": "running"}}}
    orders.carry_out(make(CommandKind.REBOOT))
    result = only(orders.results(9))
    assert result.outcome == "failed" and "first is under way" in result.error


def test_an_expired_one_is_not_carried_out(asked: Asked, tmp_path: Path) -> None:
    asked.answers["reload"] = {"transitions": []}
    orders = orders_in(tmp_path)
    command = make(CommandKind.RELOAD).model_copy(update={"good_for_s": 5.0})
    assert orders.carry_out(command, clock_s() - 6)
    result = only(orders.results(9))
    assert (result.outcome, result.error) == ("failed", "expired, not carried out")
    assert asked.messages == []
    assert orders.carry_out(command.model_copy(update={"id": uuid4()}), clock_s())
    assert asked.messages == [{"command": "reload"}]


def test_a_result_outlives_a_full_disk(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the journal, between doing and noting."""
    asked.answers["reload"] = {"transitions": []}
    orders, command = orders_in(tmp_path), make(CommandKind.RELOAD)

    def full(result: Result) -> None:
        raise OutputError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(orders.journal, "end", full)
        assert orders.carry_out(command)
        assert only(orders.results(9)).outcome == "done", "told from memory"
        assert not orders.carry_out(command)
    assert only(orders.results(9)).outcome == "done"
    assert orders.journal.unfinished() == [], "and noted when there is room"
    assert asked.messages == [{"command": "reload"}]
