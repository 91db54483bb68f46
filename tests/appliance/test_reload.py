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
    new = BASE.format('in-fallback = "block"\n', """"drop-meter.threshold" = 0.5
"exposure.action.default" = "permit"
"protection.adaptive.mode" = "auto"
"protection.windows" = 3
""")
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


def test_of_many_reloads_the_last_counts(tmp_path: Path) -> None:
    """They come faster than rules are compiled; those between may be left out, and are told."""
    with Box(tmp_path, settings=QUICK) as box:
        answers: list[dict[str, Any]] = [box.ask("reload") for _ in range(8)]
        reloaded(box)
        orders = {answer["order"] for answer in answers}

        def answered() -> list[dict[str, Any]]:
            return [e["evidence"] for e in box.events("appliance") if e["event"] == "reloaded"]

        box.wait(lambda t: orders == {one["order"] for one in answered()}, "all are answered")
        last = answered()[-1]
        assert last["ok"] and last["order"] == max(orders)


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
