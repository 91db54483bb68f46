"""Other settings for a running appliance: taken over while packets flow, or refused whole."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from box import QUICK, Box

from nsdata.appliance.reload import change
from nsdata.appliance.settings import ApplianceSettings
from nsdata.errors import EngineError, SettingError

ONE = 'alert ip any any -> any any (msg:"one"; sid:{}; threshold:type limit,track by_src,count 1,seconds 1;)\n'  # noqa: E501
GROUP = 'alert ip $HERE any -> any any (msg:"from here"; sid:77; threshold:type limit,track by_src,count 1,seconds 1;)'  # noqa: E501


def loaded(tmp_path: Path, text: str) -> ApplianceSettings:
    file = tmp_path / "box.toml"
    file.write_text(text)
    return ApplianceSettings.load(file)


BASE = '{0}[source]\ncaptures = ["a.pcap"]\n[settings]\n{1}'


@pytest.mark.parametrize(
    ("top", "settings", "key"),
    [
        ("workers = 2\n", "", "workers"),
        ('name = "other"\n', "", "name"),
        ("", '"stream.midstream" = true\n', "stream.midstream"),
        ("", '"protection.best-effort.enabled" = true\n', "protection.best-effort.enabled"),
        ("[segment.lan]\nvlan = [1]\n", "", "segment"),
        ("", '"flow.memcap" = "1gb"\n', "flow.memcap"),
        ("", '"vars.port-groups.VXLAN_PORTS" = "4790"\n', "vars.port-groups.VXLAN_PORTS"),
    ],
)
def test_what_takes_a_restart_is_named(tmp_path: Path, top: str, settings: str, key: str) -> None:
    before = loaded(tmp_path, BASE.format("", ""))
    with pytest.raises(SettingError, match="takes a restart") as fault:
        change(before, loaded(tmp_path, BASE.format(top, settings)))
    assert str(fault.value).startswith(key)


def test_what_changed_is_named(tmp_path: Path) -> None:
    before = loaded(tmp_path, BASE.format("", '"vars.address-groups.GONE" = "10.0.0.1"\n'))
    new = BASE.format(
        'in-fallback = "block"\n',
        """"drop-meter.threshold" = 0.5
"exposure.action.default" = "permit"
"protection.adaptive.mode" = "auto"
"protection.windows" = 3
""",
    )
    found = change(before, loaded(tmp_path, new))
    assert found.keys == (
        "in-fallback", "drop-meter.threshold", "exposure.action.default",
        "protection.adaptive.mode", "protection.windows", "vars.address-groups.GONE",
    )  # fmt: skip


def reloaded(box: Box, *, ok: bool = True) -> None:
    """The last reload has been compiled, or refused."""
    order = [e for e in box.events("appliance") if e["event"] == "reload"][-1]["evidence"]["order"]
    box.wait(lambda t: any(e["event"] == "reloaded" and e["evidence"]["order"] == order
                           and e["evidence"]["ok"] is ok for e in box.events("appliance")),
             "reloaded")  # fmt: skip


def hang_up(box: Box) -> None:
    assert box.process is not None
    box.process.send_signal(signal.SIGHUP)


def rewrite(box: Box, old: str, new: str) -> None:
    text = box.config.read_text()
    assert old in text
    box.config.write_text(text.replace(old, new))


def test_settings_are_taken_over_without_losing_a_packet(tmp_path: Path) -> None:
    """A group of addresses that rules name, a limit of the watch, the drop meter, all at once."""
    more = '"vars.address-groups.HERE" = "192.0.2.1"\n"watch.max-memory" = "2gb"\n'
    with Box(tmp_path, rules=GROUP, settings=QUICK + more) as box:
        assert not box.events("alert")
        first = box.status()["ledger"]
        rewrite(box, '"192.0.2.1"', '"any"')
        rewrite(box, '"2gb"', '"3gb"')
        hang_up(box)
        box.wait(lambda t: any(e["event"] == "reload" for e in box.events("appliance")), "asked")
        told = [e for e in box.events("appliance") if e["event"] == "reload"][-1]["evidence"]
        assert told["changed"] == ["vars.address-groups.HERE", "watch.max-memory"]
        reloaded(box)
        box.wait(lambda t: bool(box.events("alert")), "the rule means other addresses now")
        assert box.ask("reload")["changed"] == []
        last = box.status()["ledger"]
        assert last["lost"]["packets"] == first["lost"]["packets"]
        for why in ("worker", "fallback", "share"):
            assert last["bypassed"]["reasons"][why] == first["bypassed"]["reasons"][why]


def test_a_limit_that_is_taken_over_is_held_to(tmp_path: Path) -> None:
    """Less memory than the workers use: the fault comes with the reload, and goes with another."""
    with Box(tmp_path, settings=QUICK + '"watch.max-memory" = "2gb"\n') as box:
        rewrite(box, '"2gb"', '"1mb"')
        box.ask("reload")
        entered = box.fallen("memory error")
        assert entered["evidence"]["given"]["maximum_bytes"] == 1 << 20
        rewrite(box, '"1mb"', '"2gb"')
        box.ask("reload")
        box.restored()


def test_a_reload_that_cannot_be_is_none(tmp_path: Path) -> None:
    """A key that makes no sense, one that takes a restart: refused, and everything goes on."""
    with Box(tmp_path, settings=QUICK + '"drop-meter.threshold" = 0.9\n') as box:

        def refused(what: str) -> str:
            with pytest.raises(EngineError, match=what) as fault:
                box.ask("reload")
            return str(fault.value)

        rewrite(box, "= 0.9", "= 7")
        assert "box.toml:" in refused("drop-meter.threshold")
        rewrite(box, "= 7", '= 0.8\n"stream.midstream" = true')
        refused("stream.midstream: takes a restart")
        hang_up(box)
        box.wait(lambda t: any(e["event"] == "reload refused" for e in box.events("appliance")),
                 "said")  # fmt: skip
        rewrite(box, '\n"stream.midstream" = true', "")
        assert box.ask("reload")["changed"] == ["drop-meter.threshold"]
        box.inspects()
        assert box.status()["state"] == "normal"


def test_a_worker_that_starts_after_a_failed_reload_gets_what_ran(tmp_path: Path) -> None:
    with Box(tmp_path, settings=QUICK) as box:
        box.ask("reload", rules=[str(tmp_path / "nowhere.rules")])
        reloaded(box, ok=False)
        pid = box.signal("worker-0", signal.SIGKILL)
        box.wait(lambda t: t["processes"]["worker-0"]["pid"] not in (None, pid)
                 and t["processes"]["worker-0"]["phase"] == "running", "restarted")  # fmt: skip
        box.inspects()
        assert box.status()["state"] == "normal"


def many_rules(path: Path, sid: int) -> Path:
    """They take seconds to compile."""
    path.write_text("".join(
        f'alert tcp any any -> any any (msg:"{i}"; content:"no{i}such"; content:"{i}"; sid:{i};)\n'
        for i in range(100_000, 120_000)
    ) + ONE.format(sid))  # fmt: skip
    return path


def answers(box: Box) -> dict[int, dict[str, Any]]:
    """What became of each reload."""
    found = [e["evidence"] for e in box.events("appliance") if e["event"] == "reloaded"]
    return {one["order"]: one for one in found}


def answer(box: Box, order: int) -> dict[str, Any]:
    """What became of this one, once that is known."""
    box.wait(lambda t: order in answers(box), "it is answered")
    return answers(box)[order]


def test_of_many_reloads_the_last_counts(tmp_path: Path) -> None:
    """They come faster than rules are compiled; those between are left out, and are told."""
    with Box(tmp_path, settings=QUICK) as box:
        first = box.ask("reload", rules=[str(many_rules(tmp_path / "many.rules", 50))])["order"]
        orders = []
        for number in range(3):
            file = tmp_path / f"{number}.rules"
            file.write_text(ONE.format(60 + number))
            orders.append(box.ask("reload", rules=[str(file)])["order"])
        box.wait(lambda t: {first, *orders} == set(answers(box)), "all are answered")
        told = answers(box)
        assert [told[order]["ok"] for order in (first, *orders)] == [True, False, False, True]
        assert told[orders[0]]["why"] == "another reload came after it"
        box.wait(lambda t: any(e["alert"]["signature_id"] == 62 for e in box.events("alert")),
                 "the last is in force")  # fmt: skip
        restarted(box)
        assert box.status()["state"] == "normal"


def restarted(box: Box) -> None:
    pid = box.signal("worker-0", signal.SIGKILL)
    box.wait(lambda t: t["processes"]["worker-0"]["pid"] not in (None, pid)
             and t["processes"]["worker-0"]["phase"] == "running", "restarted")  # fmt: skip
    box.inspects()


def test_rules_that_come_while_no_worker_is_ready_are_tried_by_the_next(tmp_path: Path) -> None:
    """It starts with those that are known to be good; others that are good take over."""
    with Box(tmp_path, settings=QUICK.replace('"50ms"', '"1s"')) as box:
        for file, ok in ((tmp_path / "nowhere.rules", False), (tmp_path / "new.rules", True)):
            (tmp_path / "new.rules").write_text(ONE.format(70))
            box.signal("worker-0", signal.SIGKILL)
            box.wait(lambda t: t["processes"]["worker-0"]["phase"] != "running", "it is away")
            told = box.ask("reload", rules=[str(file)])
            assert told["workers"] == []
            assert answer(box, told["order"])["ok"] is ok
            box.inspects()
            assert box.status()["state"] == "normal"
        box.wait(lambda t: any(e["alert"]["signature_id"] == 70 for e in box.events("alert")),
                 "the new rules are in force")  # fmt: skip


def test_rules_that_take_too_long_are_given_up_and_the_next_are_taken(tmp_path: Path) -> None:
    """The limit of a start holds for a reload, too; the worker beats, inspects and stays."""
    with Box(tmp_path, settings=QUICK + '"watch.start-grace" = "59s"\n') as box:
        pid = box.pid("worker-0")
        good = box.rules.read_text()
        rewrite(box, '"59s"', '"20ms"')
        many_rules(box.rules, 80)
        box.ask("reload")
        reloaded(box, ok=False)
        assert (
            "not compiled within 0.02 s (watch.start-grace)" in max(answers(box).items())[1]["why"]
        )
        rewrite(box, '"20ms"', '"59s"')
        box.rules.write_text(good + ONE.format(81))
        assert answer(box, box.ask("reload")["order"])["ok"]
        box.wait(lambda t: any(e["alert"]["signature_id"] == 81 for e in box.events("alert")),
                 "the next are in force")  # fmt: skip
        told = box.status()
        assert told["state"] == "normal" and told["processes"]["worker-0"]["pid"] == pid


def test_a_pipe_is_no_rule_file(tmp_path: Path) -> None:
    """Nobody writes into it: it would be waited for without end."""
    os.mkfifo(tmp_path / "pipe.rules")
    with Box(tmp_path, settings=QUICK) as box:
        order = box.ask("reload", rules=[str(tmp_path / "pipe.rules")])["order"]
        told = answer(box, order)
        assert not told["ok"]
        assert "pipe.rules" in told["why"] and "no regular file" in told["why"]
        assert answer(box, box.ask("reload")["order"])["ok"]


def test_a_fifo_in_place_of_the_configuration_is_refused(tmp_path: Path) -> None:
    with Box(tmp_path, settings=QUICK) as box:
        assert box.process is not None
        text = box.config.read_text()
        box.config.unlink()
        os.mkfifo(box.config)
        box.process.send_signal(signal.SIGHUP)
        box.wait(lambda t: any(e["event"] == "reload refused" for e in box.events("appliance")),
                 "refused")  # fmt: skip
        box.inspects()
        box.config.unlink()
        box.config.write_text(text)
