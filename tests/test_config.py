from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.config.keys import Shape
from nsdata.config.settings import TREE, ExceptionPolicy, Settings, settings_rows, settings_table
from nsdata.errors import SettingError
from nsdata.units import duration_text, parse_duration, parse_rate, parse_size

KB, SECOND = 1024, 10**9


def of(*sets: str) -> Settings:
    return Settings.load(sets=sets)


def fault(*sets: str) -> str:
    with pytest.raises(SettingError) as raised:
        of(*sets)
    return str(raised.value)


def test_defaults_are_those_the_ecosystem_knows() -> None:
    settings = Settings()
    assert settings.stream.reassembly.depth == KB * KB
    assert settings.action_order == ("pass", "drop", "reject", "alert")
    assert settings.packet_alert_max == 15
    assert settings.defrag.timeout == 60 * SECOND
    assert settings.flow_timeouts.tcp.established == 600 * SECOND
    assert settings.vars.address_groups["EXTERNAL_NET"] == "!$HOME_NET"
    assert settings.port_list(settings.decoder.vxlan.ports) == (4789,)
    meter = settings.drop_meter.build()
    assert (meter.window_ns, meter.interval_ns) == (5 * SECOND, SECOND)
    assert (meter.threshold, meter.minimum_packets) == (0.9, 200)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("stream.midstream=yes", "stream.midstream", True),
        ("stream.inline=true", "stream.inline", "yes"),
        ("stream.inline=auto", "stream.inline", "auto"),
        ("stream.checksum-validation=no", "stream.checksum_validation", False),
        ("stream.async-oneside=true", "stream.async_oneside", True),
        ("stream.midstream-policy=pass-flow", "stream.midstream_policy", "pass-flow"),
        ("stream.reassembly.depth=8kb", "stream.reassembly.depth", 8 * KB),
        ("stream.reassembly.depth=0", "stream.reassembly.depth", 0),
        ("stream.memcap=1gb", "stream.memcap", KB**3),
        ("stream.reassembly.toserver-chunk-size=1", "stream.reassembly.toserver_chunk_size", 1),
        ("exception-policy=ignore", "exception_policy", "ignore"),
        ("packet-alert-max=6", "packet_alert_max", 6),
        ("packet-alert-max=0", "packet_alert_max", 15),
        ("drop-log.flows=start", "drop_log.flows", "start"),
        ("flow-timeouts.tcp.new=100ms", "flow_timeouts.tcp.new", SECOND // 10),
        ("flow.timeouts.udp.new=3", "flow_timeouts.udp.new", 3 * SECOND),
        ("defrag.trackers=9", "defrag.max_trackers", 9),
        ("decoder.vxlan.enabled=false", "decoder.vxlan.enabled", False),
        ("drop-meter.minimum-packets=1", "drop_meter.minimum_packets", 1),
        ("outputs.eve.types=[alert, drop]", "outputs.eve.types", ("alert", "drop")),
        ("outputs.eve.types.0=flow", "outputs.eve.types", ("flow",)),
    ],
)
def test_set(text: str, key: str, value: Any) -> None:
    settings: Any = of(text)
    for part in key.split("."):
        settings = getattr(settings, part)
    assert settings == value


def test_action_order_by_place() -> None:
    assert of("action-order.0=drop").action_order == ("drop", "pass", "reject", "alert")
    assert of("action-order.3=pass", "action-order.0=alert").action_order == (
        "alert",
        "drop",
        "reject",
        "pass",
    )
    assert of("action-order=[alert,reject,drop,pass]").action_order[0] == "alert"
    assert "each of" in fault("action-order.0=drop", "action-order.1=drop")
    assert "places 0 to 3" in fault("action-order.4=drop")


def test_maps_keep_their_defaults() -> None:
    settings = of(
        "host-os-policy.old-linux.0=2.2.2.2",
        "host-os-policy.old-linux.1=2.2.2.3",
        "vars.address-groups.HOME_NET=[192.168.0.0/16]",
        "vars.address-groups.MINE=10.9.9.9",
        "vars.port-groups.VXLAN_PORTS=[4789,8472]",
    )
    assert settings.host_os_policy["old-linux"] == ("2.2.2.2", "2.2.2.3")  # type: ignore[index]
    assert settings.host_os_policy["windows"] == ("0.0.0.0/0",)  # type: ignore[index]
    groups = settings.vars.address_groups
    assert (groups["HOME_NET"], groups["MINE"]) == ("[192.168.0.0/16]", "10.9.9.9")
    assert groups["DNS_SERVERS"] == "$HOME_NET"
    assert settings.port_list("[$VXLAN_PORTS, 1]") == (1, 4789, 8472)
    assert settings.port_list("any") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stream.midstrem=true", "did you mean stream.midstream"),
        ("nonsense=true", "docs/operations.md lists all"),
        ("stream=1", "stream is a group of settings: stream.memcap"),
        ("stream.midstream.x=1", "unknown setting"),
        ("stream.midstream", "write key=value"),
        ("stream.midstream=maybe", "stream.midstream = 'maybe': legal: true, false"),
        ("stream.memcap=64mbit", "stream.memcap = '64mbit': legal: a size"),
        ("stream.memcap=-1", "legal: a size"),
        ("defrag.timeout=soon", "defrag.timeout = 'soon': legal: a duration"),
        ("exception-policy=foo", "exception-policy = 'foo': legal: 'auto', 'ignore'"),
        ("stream.midstream-policy=drop-packet", "legal: drop-flow, pass-flow"),
        ("packet-alert-max=256", "packet-alert-max = '256'"),
        ("drop-meter.threshold=1", "drop-meter.threshold = '1'"),
        ("drop-meter.window=1500ms", "window 1500ms must be a whole multiple of drop-meter.int"),
        ("host-os-policy.beos=1.1.1.1", "host-os-policy.beos"),
        ("host-os-policy.bsd.0=1.1.1", "host-os-policy"),
        ("vars.port-groups.A-B=1", "not a name"),
        ("vars.address-groups.A=", "empty"),
        ("defrag.max-frags=x", "defrag.max-frags = 'x': legal: an integer"),
        ("outputs.eve.types=alert,foo", "'foo': legal: 'alert'"),
    ],
)
def test_faults_say_what_is_legal(text: str, said: str) -> None:
    message = fault(text)
    assert said in message and message.startswith("--set")


def test_midstream_policy_that_contradicts_midstream() -> None:
    assert "contradicts" in fault("stream.midstream=true", "stream.midstream-policy=drop-flow")
    of("stream.midstream=true", "stream.midstream-policy=pass-flow")


def test_file_environment_and_sets_in_order(tmp_path: Path) -> None:
    path = tmp_path / "nsdata.toml"
    path.write_text(
        "packet-alert-max = 3\n"
        "[stream]\nmidstream = true\nreassembly.depth = '2mb'\n"
        "[vars.port-groups]\nHTTP_PORTS = [80, 8080]\n"
        "[host-os-policy]\nlinux = ['10.0.0.0/8']\n"
        "[drop-meter]\nwindow = 2.5\ninterval = '500ms'\n"
    )
    environ = {"NSDATA_SET": "packet-alert-max=4;flow.memcap=1mb"}
    settings = Settings.load(path, ["flow.memcap=2mb"], environ)
    assert settings.stream.midstream and settings.stream.reassembly.depth == 2 * KB * KB
    assert settings.vars.port_groups["HTTP_PORTS"] == "[80,8080]"
    assert settings.host_os_policy["linux"] == ("10.0.0.0/8",)  # type: ignore[index]
    assert settings.drop_meter.window == 5 * SECOND // 2
    assert (settings.packet_alert_max, settings.flow.memcap) == (4, 2 * KB * KB)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[stream]\nmidstream = 1\nmidstrem = true\n", "c.toml:3: unknown setting"),
        ("\n[stream]\nmidstream = 'x'\n", "c.toml:3: stream.midstream = 'x'"),
        ("stream = 3\n", "c.toml:1: stream is a group"),
        ("[stream]\n[stream.reassembly]\ndepth = []\n", "c.toml:3: stream.reassembly.depth"),
        ("a = \n", "c.toml:1: not valid TOML"),
        ('x = """\n[stream]\n"""\n', "c.toml:1: unknown setting 'x'"),
    ],
)
def test_faults_in_a_file_name_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(SettingError) as raised:
        Settings.load(path)
    assert said in str(raised.value)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        Settings.load(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    with pytest.raises(SettingError, match="not UTF-8 text at byte 2"):
        Settings.load(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("sets", "key", "inline", "policy"),
    [
        ([], "stream.midstream-policy", True, "drop-flow"),
        ([], "stream.midstream-policy", False, "ignore"),
        (["stream.midstream=true"], "stream.midstream-policy", True, "ignore"),
        ([], "defrag.memcap-policy", True, "drop-packet"),
        (["exception-policy=ignore"], "stream.midstream-policy", True, "ignore"),
        (["exception-policy=bypass"], "flow.memcap-policy", True, "ignore"),
        (["exception-policy=bypass"], "stream.memcap-policy", True, "bypass"),
        (["exception-policy=bypass"], "stream.memcap-policy", False, "ignore"),
        (["stream.midstream-policy=reject"], "stream.midstream-policy", False, "reject"),
        (["exception-policy=drop-packet"], "stream.midstream-policy", True, "drop-flow"),
    ],
)
def test_what_an_exception_policy_comes_to(
    sets: list[str], key: str, inline: bool, policy: str
) -> None:
    assert of(*sets).policy(key, inline) is ExceptionPolicy(policy)


def test_ports_that_make_no_sense() -> None:
    for text in ("99999", "$NOPE", "a", "²"):
        with pytest.raises(SettingError, match="legal"):
            Settings().port_list(text)
    with pytest.raises(SettingError, match="circle"):
        of("vars.port-groups.A=$B", "vars.port-groups.B=$A").port_list("$A")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("64kb", 65536), ("64KiB", 65536), ("1.5m", 3 << 19), (7, 7), ("2 GB", 2 << 30)],
)
def test_sizes(text: Any, value: int) -> None:
    assert parse_size(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        (5, 5),
        (0.1, 0.1),
        ("100ms", 0.1),
        ("2m", 120),
        ("1h", 3600),
        ("0.000000001", 1e-9),
    ],
)
def test_durations(text: Any, value: float) -> None:
    assert parse_duration(text) == round(value * SECOND)


def test_rates() -> None:
    assert [parse_rate(t) for t in ("900pps", "200kpps", "1.5Mpps")] == [900, 2e5, 1.5e6]
    for wrong in ("", "0pps", "10", "10kbps", "-1pps"):
        with pytest.raises(ValueError, match="legal"):
            parse_rate(wrong)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_pair_is_settings_or_a_setting_error(key: str, value: str) -> None:
    with contextlib.suppress(SettingError):
        of(f"{key}={value}")


@given(st.sampled_from(sorted(TREE.keys)), st.text(max_size=20), st.sampled_from(["", ".0", ".x"]))
def test_any_value_of_a_known_key_is_taken_or_refused(key: str, value: str, tail: str) -> None:
    try:
        of(f"{key}{tail}={value}")
    except SettingError as raised:
        assert key.split(".")[0] in str(raised)


def test_every_default_is_legal_and_in_the_table() -> None:
    table = settings_table()
    for key in TREE.keys.values():
        assert f"| `{key.name}" in table
        assert key.text, f"{key.name} has no text"
        if key.shape is Shape.ONE and key.default is not None:
            of(f"{key.name}={getattr(key.default, 'value', key.default)}")


def test_a_file_of_bypass_rules_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    path.write_text("# rules\n[[rule]]\nid = 1\n")
    with pytest.raises(SettingError, match=r"b\.toml:2: .*--bypass-rules"):
        Settings.load(path)


@given(st.integers(0, 1 << 62))
def test_a_duration_as_text_is_read_back_exactly(ns: int) -> None:
    assert parse_duration(duration_text(ns)) == ns


def test_durations_are_written_as_people_do() -> None:
    written = [duration_text(n) for n in (7 * 10**9, 1_500_000_000, 60 * 10**9, 1, 0)]
    assert written == ["7s", "1500ms", "1m", "1ns", "0ns"]


def test_rows_say_values_as_one_would_write_them() -> None:
    rows = {name: text for name, text, _ in settings_rows(Settings())}
    assert rows["stream.memcap"] == "64mb" and rows["drop-meter.window"] == "5s"
    assert rows["action-order"] == "[pass, drop, reject, alert]" and rows["defrag.max-frags"]
    assert not [name for name, _, changed in settings_rows(Settings()) if changed]
    sets = ["stream.memcap=1000", "flow-timeouts.tcp.new=1500ms"]
    sets += ["vars.address-groups.X=[10.0.0.1]"]
    changed = {name: text for name, text, other in settings_rows(Settings.load(sets=sets)) if other}
    assert changed == {
        "stream.memcap": "1000", "flow-timeouts.tcp.new": "1500ms",
        "vars.address-groups.X": "[10.0.0.1]",
    }  # fmt: skip
    again = Settings.load(sets=[f"{name}={text}" for name, text in rows.items() if text])
    assert again == Settings()
    secret = Settings.load(sets=["vars.address-groups.API_KEY=[10.0.0.1]"])
    assert "(not shown)" in [text for _, text, _ in settings_rows(secret)]
