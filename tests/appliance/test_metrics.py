"""/metrics of a running appliance: what it says is the ledger, and nobody who asks holds it up."""

import gzip
import os
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from box import QUICK, Box
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from receivers import patience

from nsdata.appliance.monitoring.metrics import Figures
from nsdata.appliance.monitoring.scrape import MOST, MetricsServer
from nsdata.appliance.settings import ApplianceSettings
from nsdata.errors import SettingError
from nsdata.fallback.ledger import Fate, Why
from nsdata.fallback.reasons import Reason

ROOT = Path(__file__).parents[2]
HERE = 'listen = "127.0.0.1:0"'
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def url(box: Box) -> str:
    told = box.wait(lambda t: bool(t["reporter"]["listening"]), "it listens")
    return f"http://127.0.0.1:{told['reporter']['listening']['port']}/metrics"


def scrape(where: str, accept: str = "", token: str = "") -> tuple[str, str]:
    """(content type, text)."""
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    with urllib.request.urlopen(urllib.request.Request(where, headers=headers), timeout=10) as got:
        return got.headers["Content-Type"], gzip.decompress(got.read()).decode()


def samples(text: str) -> Samples:
    return {(s.name, tuple(sorted(s.labels.items()))): s.value
            for family in text_families(text) for s in family.samples}  # fmt: skip


def test_what_it_says_is_the_ledger(tmp_path: Path) -> None:
    """Both formats, read by Prometheus' own parsers, once the source has ended."""
    with Box(tmp_path, metrics=HERE, loops=30, rate="20kpps") as box:
        where = url(box)
        box.ask("fallback", note="x")
        ledger = {}

        def settled() -> bool:
            before = dict(ledger)
            ledger.update(box.status()["ledger"])
            time.sleep(0.7)
            return before == ledger

        patience(settled, "the source has ended")
        kind, text = scrape(where)
        assert kind.startswith("text/plain; version=0.0.4")
        kind, opened = scrape(where, "application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        found = samples(text)
        families = {f.name: f for f in open_families(opened)}
        assert families["nsdata_received_packets"].type == "counter"

        status = box.status()
        for unit in ("packets", "bytes"):
            assert found[f"nsdata_received_{unit}_total", ()] == ledger["received"][unit]
            for fate in Fate:
                by_reason = {labels[0][1]: value for (name, labels), value in found.items()
                             if name == f"nsdata_{fate.token}_{unit}_total"}  # fmt: skip
                assert set(by_reason) == {why.token for why in Why if why.fate is fate}
                assert sum(by_reason.values()) == ledger[fate.token][unit]
                if unit == "packets":
                    assert by_reason == ledger[fate.token]["reasons"]
        assert ledger["bypassed"]["reasons"]["fallback"] > 0
        forwarded = status["port"]["forwarded_packets"]
        assert found["nsdata_forwarded_packets_total", ()] == forwarded
        states = {v: found["nsdata_state", (("state", v),)] for v in ("normal", "fallback")}
        assert states == {"normal": 0, "fallback": 1}
        reasons = {r: found["nsdata_fallback_reason", (("reason", r.value),)] for r in Reason}
        assert reasons == {r: float(r is Reason.NO_ERROR) for r in Reason}
        by_hand = (("outcome", "entered"), ("reason", "no error"), ("trigger", "manual"))
        assert found["nsdata_transitions_total", by_hand] == 1
        assert found["nsdata_drop_ratio_threshold", ()] == 0.9
        assert found["nsdata_rules_loaded", (("process", "worker-0"),)] == 1
        assert found["nsdata_process_up", (("process", "reporter"),)] == 1
        assert found["nsdata_health_score", ()] == status["health"]["score"]
        lint(text)


def lint(text: str) -> None:
    """The rules of promtool: help, suffixes, base units, labels; no name twice."""
    seen = set()
    for family in text_families(text):
        name = family.name
        assert name not in seen and re.fullmatch(r"nsdata_[a-z0-9]+(_[a-z0-9]+)*", name)
        seen.add(name)
        assert family.documentation.strip().endswith("."), name
        words = name.split("_")
        units = {"milliseconds", "ms", "minutes", "hours", "kilobytes", "megabytes", "percent"}
        assert not units & set(words), name
        assert not {"gauge", "counter", "info"} & set(words[:-1]), name
        for sample in family.samples:
            assert sample.name.endswith("_total") is (family.type == "counter"), sample.name
            assert all(re.fullmatch(r"[a-z]+", label) for label in sample.labels)


def test_counters_do_not_run_back_while_processes_are_killed(tmp_path: Path) -> None:
    """Scraped all the while, under load."""
    with Box(tmp_path, metrics=HERE, rate="20kpps", settings=QUICK) as box:
        where = url(box)
        seen: list[Samples] = []
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                seen.append(samples(scrape(where)[1]))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            for name in ("worker-0", "port", "writer"):
                pid = box.signal(name, signal.SIGKILL)
                box.wait(lambda t, name=name, pid=pid: t["processes"][name]["phase"] == "running"
                         and t["processes"][name]["pid"] not in (None, pid), name)  # fmt: skip
            box.inspects()
            restarts = ("nsdata_process_restarts_total", (("process", "writer"),))
            patience(lambda: seen[-1].get(restarts) == 1, "the figures say so")
        finally:
            over.set()
            asking.join()
        assert len(seen) > 20
        for before, after in pairwise(seen):
            for key, value in before.items():
                if key[0].endswith("_total"):
                    assert after[key] >= value, key
        last = seen[-1]
        assert last["nsdata_bypassed_packets_total", (("reason", "worker"),)] > 0
        assert last["nsdata_events_total", (("event", "crash"),)] == 3
        assert last["nsdata_worker_inspected_frames_total", (("process", "worker-0"),)] > 1000
        assert box.status()["state"] == "normal"


def test_a_reporter_that_dies_or_hangs_is_replaced(tmp_path: Path) -> None:
    """Killed and stopped: an event, no fallback; figures go on where they were."""
    settings = QUICK + '"watch.heartbeat" = "300ms"\n'
    with Box(tmp_path, metrics=HERE, settings=settings) as box:
        before = samples(scrape(url(box))[1])
        for number in (signal.SIGKILL, signal.SIGSTOP):
            pid = box.status()["reporter"]["pid"]
            os.kill(pid, number)
            box.wait(lambda t, pid=pid: t["reporter"]["pid"] not in (None, pid)
                     and bool(t["reporter"]["listening"]), "another listens")  # fmt: skip
        after = samples(scrape(url(box))[1])
        received = ("nsdata_received_packets_total", ())
        assert after[received] > before[received]
        restarts = ("nsdata_process_restarts_total", (("process", "reporter"),))
        assert (before[restarts], after[restarts]) == (0, 2)
        assert not box.ask("transitions")["transitions"]
        assert {"killed", "crash"} <= {one["event"] for one in box.events("appliance")}


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    registry = CollectorRegistry()
    registry.register(Figures(lambda: None, lambda: [], time.monotonic_ns))
    one = MetricsServer("127.0.0.1", 0, registry, b"word")
    one.start()
    yield one
    one.stop()


def test_only_who_has_the_token_is_answered(server: MetricsServer) -> None:
    where = f"http://127.0.0.1:{server.port}/metrics"
    assert scrape(where, token="word")[1] == ""
    for path, token, status in (("", "", 401), ("", "wörd", 401), ("", "words", 401),
                                ("/more", "word", 404)):  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as refused:
            scrape(where + path, token=token)
        assert refused.value.code == status
        refused.value.close()
    assert server.refused == 4


def test_slow_clients_hold_nobody_up(server: MetricsServer) -> None:
    """More of them than there are connections, each sending a byte now and then; a scraper is
    answered all the same, as often as it asks."""
    over = threading.Event()
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2 * MOST)]

    def drip() -> None:
        while not over.wait(0.05):
            for one in slow:
                try:
                    one.send(b"G")
                except OSError:
                    continue

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        for _ in range(20):
            scrape(f"http://127.0.0.1:{server.port}/metrics", token="word")
            assert server.connections <= MOST
        assert server.evicted >= MOST
    finally:
        over.set()
        dripping.join()
        for one in slow:
            one.close()


def test_what_is_too_long_is_refused(server: MetricsServer) -> None:
    for request, status in ((b"GET /" + b"x" * 70_000, b"414"),
                            (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200, b"431"),
                            (b"POST /metrics HTTP/1.1\r\n\r\n", b"501")):  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as end:
            end.sendall(request + b"\r\n\r\n")
            assert status in end.recv(1000).splitlines()[0]


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ('listen = "0.0.0.0:9464"', "token-file is not set"),
        ('listen = "[::]:9464"', "token-file is not set"),
        ('listen = "metrics.example:9464"', "is no address"),
        ('listen = "127.0.0.1"', "is no address"),
        ('listen = "127.0.0.1:99999"', "is no address"),
        ('listen = "0.0.0.0:9464"\ntoken-file = "none"', "cannot be read"),
        ('token-file = "empty"', "holds no bytes"),
        ('[notify.webhook]\nurl = "ftp://x/"', "legal: a URL"),
        ('[notify.webhook]\nurl = "http://x/"\nsecret-file = "short"', "a key of 5 bytes"),
        ('[notify.webhook]\nurl = "http://x/"\nsecret-file = "bad"', "not base64"),
        ('[notify.webhook]\nurl = "http://x/"\ntimeout = "2m"', "legal: 10ms to 60s"),
        ('[notify.syslog]\nto = "/dev/log"', "no place for syslog"),
        ('[notify.syslog]\nto = "udp://x"\nfacility = "locl1"', "legal: kern"),
        ('[notify]\non = ["alerts"]', "'transition', 'health' or 'event'"),
        ('[log]\nformat = "xml"', "'json' or 'text'"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, metrics: str, said: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "short").write_text("short\n")
    (tmp_path / "bad").write_text("whsec_!!!\n")
    file = tmp_path / "box.toml"
    file.write_text(f'[source]\ncaptures = ["a.pcap"]\n[metrics]\n{metrics}\n')
    with pytest.raises(SettingError, match=re.escape(said)) as fault:
        ApplianceSettings.load(file)
    assert re.match(r".*box\.toml:[3-6]: ", str(fault.value))
    token = tmp_path / "token"
    token.write_text("a word\n")
    file.write_text('[source]\ncaptures = ["a"]\n[metrics]\nlisten = "0.0.0.0:1"\n'
                    'token-file = "token"\n')  # fmt: skip
    assert ApplianceSettings.load(file).metrics.token_file == str(token)


def test_the_page_has_every_metric_and_alerts_ask_for_none_else(tmp_path: Path) -> None:
    """Of an appliance that has all there is: a block, notifications."""
    more = 'offload = "model:64"\n[notify.syslog]\nto = "udp://127.0.0.1:9"\n'
    with Box(tmp_path, metrics=HERE, more=more) as box:
        where = url(box)
        patience(lambda: "nsdata_health_score" in scrape(where)[1], "sensors are read")
        text = scrape(where)[1]
    rows = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for family in text_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = sorted({f"`{label}`" for sample in family.samples for label in sample.labels})
        told = f"| {', '.join(labels) or '–'} | {family.documentation} |"
        rows.append(f"| `{name}` | {family.type} {told}")
    path = ROOT / "docs" / "monitoring.md"
    page = path.read_text(encoding="utf-8")
    before, _, rest = page.partition("<!-- metrics -->\n")
    table, _, after = rest.partition("<!-- /metrics -->")
    wanted = "\n".join(rows) + "\n"
    if os.environ.get("NSDATA_WRITE_DOCS"):
        path.write_text(f"{before}<!-- metrics -->\n{wanted}<!-- /metrics -->{after}", "utf-8")
        return
    assert table == wanted, "make it anew: NSDATA_WRITE_DOCS=1 pytest -k page"
    lint(text)
    names = {name for name, _ in samples(text)}
    rules = yaml.safe_load((ROOT / "examples" / "appliance" / "alerts.yml").read_text())
    asked = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(asked) >= 6
    for name in re.findall(r"nsdata_\w+", " ".join(asked)):
        assert name in names, f"an alert asks for {name}"
