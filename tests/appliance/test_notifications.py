"""Who is notified of a transition is told, whatever happens meanwhile: real receivers, real
processes."""

import base64
import hashlib
import hmac
import os
import signal
from pathlib import Path

from box import QUICK, Box
from receivers import Hook, Receiver, free_port, parsed, patience
from typer.testing import CliRunner

from nsdata.cli.appliance import app

ROOT = Path(__file__).parents[2]
SECRET = "whsec_" + base64.b64encode(b"a key of a good length").decode()


def webhook(url: str, more: str = "") -> str:
    return f'[notify.webhook]\nurl = "{url}"\ntimeout = "500ms"\n{more}\n'


def test_a_transition_arrives_with_all_an_operator_needs(tmp_path: Path) -> None:
    """A worker hangs: by webhook, signed, and by syslog; then a restore by hand."""
    (tmp_path / "key").write_text(SECRET + "\n")
    with Hook() as hook:
        logs = Receiver("udp")
        more = webhook(hook.url, 'secret-file = "key"')
        more += f'[notify.syslog]\nto = "{logs.place}"\nfacility = "local3"\n'
        with Box(tmp_path, more=more, settings=QUICK) as box:
            box.signal("worker-0", signal.SIGSTOP)
            entered = box.fallen("heartbeat error")
            patience(lambda: hook.outcomes() == ["entered"], "the webhook is told")
            patience(lambda: len(logs.messages) == 1, "syslog is told")
            box.restored()
            patience(lambda: hook.outcomes()[-1] == "restored", "the webhook is told")
            patience(lambda: "back to normal" in logs.messages[-1].decode(), "syslog is told")
            log = box.log()
        told, (_, headers, body) = hook.taken()[0], hook.requests[0]
        assert told["type"] == "nsdata.transition" and told["appliance"] == "box"
        assert told["severity"] == "Critical" and "heartbeat error" in told["summary"]
        assert "(worker-0, silent for " in told["summary"]
        assert told["data"] == {k: v for k, v in entered.items() if k != "wall_ns"}
        assert told["data"]["resolution"] and told["data"]["evidence"]["given"]["silence_ns"] > 0
        assert hook.taken()[-1]["severity"] == "Info"

        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.new(b"a key of a good length", signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()
        assert headers["webhook-id"] == told["id"]
        assert SECRET not in log and SECRET[6:] not in log

        one = parsed(logs.messages[0])
        assert int(one["pri"]) == 19 * 8 + 2 and one["app"] == "nsdata"
        assert one["id"] == "TRANSITION" and one["time"] == told["timestamp"]
        params = one["params"]
        assert params["reason"] == "heartbeat error" and params["severity"] == "Critical"
        assert params["id"] == told["id"] and params["resolution"] == entered["resolution"]
        assert '"silence_ns"' in one["text"] and len(logs.messages[0]) <= 2048
        assert parsed(logs.messages[-1])["params"]["outcome"] == "restored"
        logs.close()


def test_a_webhook_that_misbehaves_gets_it_in_the_end(tmp_path: Path) -> None:
    """It says 500 twice, hangs, redirects, refuses one for good; the rest arrives in order."""
    with Hook() as elsewhere, Hook(location=elsewhere.url) as hook:
        hook.answers = [500, 500, "hang", 302]
        with Box(tmp_path, more=webhook(hook.url)) as box:
            box.ask("fallback", note="one")
            box.ask("restore")
            patience(lambda: hook.outcomes() == ["entered", "restored"], "both are delivered")
            ids = [headers["webhook-id"] for _, headers, _ in hook.requests]
            assert len(set(ids[:5])) == 1 and ids[5] != ids[0]  # one and the same, until it works
            assert [answer for answer, _, _ in hook.requests[:5]] == [500, 500, "hang", 302, 204]
            assert not elsewhere.requests  # the body goes nowhere else

            hook.answers = [422]
            box.ask("fallback", note="two")
            box.ask("restore")
            patience(lambda: len(hook.requests) == 8, "the next one is delivered")
            assert hook.outcomes() == ["entered", "restored", "restored"]
            wanted = {"notification failed", "notification works again", "notification refused"}
            patience(lambda: wanted <= {one["event"] for one in box.events("appliance")},
                     "it is on record")  # fmt: skip
            assert box.status()["state"] == "normal"


def test_nothing_undelivered_is_lost_with_the_reporter(tmp_path: Path) -> None:
    """Nobody listens; the reporter is killed, then stopped, and the appliance is restarted:
    neither is a fallback, and everything is delivered once somebody listens."""
    port = free_port()
    more = webhook(f"http://user:word@127.0.0.1:{port}/x")
    settings = QUICK + '"watch.heartbeat" = "300ms"\n'
    with Box(tmp_path, more=more, settings=settings) as box:
        box.ask("fallback", note="a")
        first = box.status()["reporter"]["pid"]
        os.kill(first, signal.SIGKILL)
        box.ask("restore")  # while nobody reports
        second = _other_reporter(box, first)
        os.kill(second, signal.SIGSTOP)
        box.ask("fallback", note="b")  # while it hangs
        third = _other_reporter(box, second)
        box.ask("restore")
        assert box.status()["state"] == "normal"
        reasons = [one["reason"] for one in box.ask("transitions")["transitions"]]
        assert set(reasons) == {"no error"}  # no fallback but ours
        assert third not in (first, second)
        ledger = box.stop()
        assert ledger["lost"]["reasons"]["port"] == 0
        box.start()
        with Hook(port=port) as hook:
            patience(lambda: len(hook.outcomes()) >= 4, "all are delivered")
            box.ask("fallback", note="c")
            patience(lambda: len(hook.outcomes()) >= 5, "and what comes next")
            told = hook.taken()
            notes = [one["data"]["evidence"].get("given", {}).get("note") for one in told]
            assert notes == ["a", None, "b", None, "c"]
            assert len({one["id"] for one in told}) == 5
            assert hook.requests[0][1]["authorization"].startswith("Basic ")
        assert "word@" not in box.log()  # what a URL holds is nobody's business


def _other_reporter(box: Box, than: int) -> int:
    told = box.wait(lambda t: t["reporter"]["phase"] == "running"
                    and t["reporter"]["pid"] not in (None, than), "another reporter")  # fmt: skip
    return int(told["reporter"]["pid"])


def test_without_its_store_it_is_told_all_the_same(tmp_path: Path) -> None:
    """Who notifies cannot read the store: it hears of it at once from the supervisor."""
    with Hook() as hook, Box(tmp_path, more=webhook(hook.url)) as box:
        box.wait(lambda t: t["reporter"]["phase"] == "running", "it reports")
        (box.directory / "appliance.db").rename(box.directory / "elsewhere.db")
        box.ask("fallback", note="a")
        box.ask("restore")
        patience(lambda: hook.outcomes() == ["entered", "restored"], "both are delivered")


def test_syslog_by_tcp_and_unix_socket_comes_back(tmp_path: Path) -> None:
    """A receiver that goes away and comes back; what came about meanwhile is told then."""
    logs = Receiver("tcp")
    port = int(logs.place.rpartition(":")[2])
    more = f'[notify]\non = ["transition", "event"]\n[notify.syslog]\nto = "{logs.place}"\n'
    with Box(tmp_path, more=more) as box:
        box.ask("fallback", note='with "quotes" ] and \\')
        patience(lambda: any(b"TRANSITION" in m for m in logs.messages), "it is told")
        assert any(parsed(m)["params"].get("event") == "started" for m in logs.messages)
        before = len(logs.messages)
        logs.close()
        box.ask("restore")
        again = Receiver("tcp", port=port)
        patience(lambda: any(b"restored" in m for m in again.messages), "it is told")
        assert before and all(parsed(m) for m in [*logs.messages, *again.messages])
        again.close()

    path = tmp_path / "log"
    unix = Receiver("unix", path)
    (tmp_path / "b").mkdir()
    more = f'[notify.syslog]\nto = "{unix.place}"\n'
    with Box(tmp_path / "b", more=more) as box:
        box.ask("fallback")
        one = parsed(patience(lambda: unix.messages, "it is told")[0])
        assert one["params"]["outcome"] == "entered" and int(one["pri"]) == 3 * 8 + 6
        unix.close()
        path.unlink()
        box.ask("restore")
        patience(lambda: any(e["event"] == "notification failed" for e in box.events("appliance")),
                 "it cannot be told")  # fmt: skip
        unix = Receiver("unix", path)
        patience(lambda: unix.messages, "it is told")
        assert parsed(unix.messages[0])["params"]["outcome"] == "restored"
        unix.close()


def test_health_is_told_when_it_is_asked_for(tmp_path: Path) -> None:
    lab = tmp_path / "sensors"
    lab.mkdir()
    (lab / "temperature-inlet").write_text("40")
    settings = f'''"health.sensor-directory" = "{lab}"
"health.interval" = "200ms"
"health.deadline" = "200ms"
"health.stale-after" = "2s"
"health.required" = []
'''
    with Hook() as hook:
        more = '[notify]\non = ["health"]\n' + webhook(hook.url)
        with Box(tmp_path, more=more, settings=settings) as box:
            (lab / "temperature-inlet").write_text("99")
            red = patience(lambda: [one for one in hook.taken() if one["data"]["level"] == "red"],
                           "it is told")[0]  # fmt: skip
            assert red["type"] == "nsdata.health" and red["severity"] == "Critical"
            names = [one["sensor"] for one in red["data"]["sensors"]]
            assert "temperature-inlet" in names
            box.ask("fallback")
            (lab / "temperature-inlet").write_text("40")
        page = (ROOT / "docs" / "eve.md").read_text(encoding="utf-8")
        for kind in ("health", "fallback"):
            event = box.events(kind)[0]
            assert event["appliance"] == "box"
            above = "fallback." if kind == "fallback" else ""
            for member in event[kind]:
                assert f"`{above}{member}`" in page, f"docs/eve.md does not name {above}{member}"
        assert not hook.outcomes()  # transitions were not asked for


def test_a_test_says_what_came_of_it(tmp_path: Path) -> None:
    runner = CliRunner()
    with Hook() as hook:
        gone = f"unix://{tmp_path}/nobody"
        more = webhook(hook.url) + f'[notify.syslog]\nto = "{gone}"\n'
        with Box(tmp_path, more=more) as box:
            answer = runner.invoke(app, ["notify-test", str(box.directory), "--note", "hello"])
            assert answer.exit_code == 1
            assert "webhook: delivered: http://127.0.0.1" in answer.output
            assert "HTTP 204" in answer.output and "/told" not in answer.output
            assert f"syslog: FAILED: {gone}: No such file or directory" in answer.output
            told = hook.taken()[0]
            assert told["type"] == "nsdata.test" and told["data"] == {"note": "hello"}
            receiver = Receiver("unix", tmp_path / "nobody")
            assert runner.invoke(app, ["notify-test", str(box.directory)]).exit_code == 0
            assert "TEST" in patience(lambda: receiver.messages, "it is told")[0].decode()
            receiver.close()


def test_nobody_to_be_told(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        answer = CliRunner().invoke(app, ["notify-test", str(box.directory)])
        assert "neither notify.webhook nor notify.syslog" in str(answer.exception)
        assert box.status()["reporter"]["listening"] == {}
