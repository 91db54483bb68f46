"""A scenario file: whatever is wrong with it is said with file, line and key; never a traceback."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import ROOT, SHIPPED, scene

from nsdata.errors import SettingError
from nsdata.scenario.actions import KINDS, do_of
from nsdata.scenario.expect import Expect
from nsdata.scenario.run import compiled
from nsdata.scenario.scenario import LARGEST_FILE, File, Scenario, load, parse
from nsdata.scenario.template import TEMPLATE
from nsdata.scenario.traffic import offered

PLACE = re.compile(r"^[^:\n]+:[0-9]+: ")
SOUND = """duration = "10s"
[traffic]
generate = {}
rate = "1kpps"
[appliance]
workers = 2
"""


def refusal(text: str) -> str:
    """What is said of it."""
    with pytest.raises(SettingError) as caught:
        compiled(parse(text, "my.toml", ROOT))
    return str(caught.value)


ENTRY = SOUND + "[[action]]\n"
WANT = SOUND + "[[expect]]\n"
WRONG = {
    # text -> how the refusal begins, and what it holds
    'duration = "1s"\n': ("my.toml:1: traffic: ", "is missing"),
    SOUND.replace("10s", "ten"): ("my.toml:1: duration = 'ten': ", "legal: a duration"),
    SOUND.replace("10s", "25h"): ("my.toml:1: duration", "at most 24h"),
    SOUND.replace("1kpps", "fast"): ("my.toml:4: traffic.rate = 'fast': ", "legal: a rate"),
    SOUND.replace("1kpps", "0pps"): ("my.toml:4: traffic.rate", "legal: a rate"),
    SOUND.replace("1kpps", "20Mpps"): ("my.toml:4: traffic.rate", "10Mpps"),
    SOUND.replace("workers = 2", "workers = 0"): ("my.toml:6: appliance.workers = 0: ", "1"),
    SOUND.replace("workers = 2", "wrokers = 2"): ("my.toml:6: appliance.wrokers: ",
                                                  "unknown key; legal: workers, capacity"),
    SOUND.replace("workers = 2", "slots = 63"): ("my.toml:6: appliance.slots", "power of two"),
    SOUND + "offload = true\n": ("my.toml:5: appliance: ", "one block serves one worker"),
    SOUND.replace("generate = {}\n", ""): ("my.toml:2: traffic: ", "captures or generate"),
    SOUND.replace("{}", "{ flows = 10000, attack_every = 100 }"): (
        "my.toml:3: traffic.generate: ", "at most 100000"),
    SOUND.replace("generate = {}", 'captures = ["none.pcap"]'): (
        "my.toml:3: traffic.captures.0: ", "there is no file none.pcap"),
    'rules = ["none.rules"]\n' + SOUND: ("my.toml:1: rules.0: ", "there is no file"),
    'rule_text = "alert udp nonsense"\n' + SOUND: ("my.toml:1: rule_text: ", "rule_text"),
    SOUND + "[settings]\n\"drop-meter.threshold\" = 90\n": (
        "my.toml:8: drop-meter.threshold = 90: ", "less than 1"),
    SOUND + "[settings]\n\"drop-meter.treshold\" = 0.9\n": (
        "my.toml:8: ", "did you mean drop-meter.threshold"),
    SOUND + "[settings.drop-meter]\nwindow = \"10s\"\ninterval = \"3s\"\n": (
        "my.toml:9: drop-meter: ", "multiple"),
    ENTRY + 'do = "kill"\nprocess = "worker-0"\n': ("my.toml:7: action.0: ", "say when"),
    ENTRY + 'at = "1s"\nat_packet = 5\ndo = "restore"\n': ("my.toml:7: action.0: ", "say when"),
    ENTRY + 'at = "1s"\ndo = "explode"\n': ("my.toml:7: action.0: ", "legal: rate, pause, burst"),
    ENTRY + 'at = "1s"\n': ("my.toml:7: action.0: ", "do says what happens"),
    ENTRY + 'at = "11s"\ndo = "restore"\n': ("my.toml:8: action.0.at: ", "after the end"),
    ENTRY + 'at = "1s"\ndo = "kill"\nprocess = "worker-2"\n': (
        "my.toml:10: action.0.process: ", "legal: worker-0 to worker-1, port or writer"),
    ENTRY + 'at = "1s"\ndo = "kill"\nprocess = "supervisor"\n': (
        "my.toml:10: action.0.process = 'supervisor': ", "legal: worker-0"),
    ENTRY + 'at = "1s"\ndo = "kill"\nprocess = "port"\nforce = true\n': (
        "my.toml:11: action.0.force: ", "unknown key; legal: name, at, at_packet, process, do"),
    ENTRY + 'at = "1s"\ndo = "fpga-error"\n': ("my.toml:9: action.0.do: ", "offload = true"),
    ENTRY + 'at = "1s"\ndo = "fpga-error"\nerror = "SUE"\n': (
        "my.toml:10: action.0.error = 'SUE': ", "legal: ECC_UE"),
    ENTRY + 'at = "1s"\ndo = "corrupt"\nprocess = "port"\n': (
        "my.toml:7: action.0: ", "only a worker"),
    ENTRY + 'at = "1s"\ndo = "sensor"\nsensor = "heat"\nvalue = 1\n': (
        "my.toml:10: action.0.sensor = 'heat': ", "begins with its resource"),
    ENTRY + 'at = "1s"\ndo = "sensor"\nsensor = "fan-1"\n': ("my.toml:7: action.0: ", "either"),
    ENTRY + 'at = "1s"\ndo = "sensor"\nsensor = "fan-1"\nvalue = nan\n': (
        "my.toml:11: action.0.value", "finite"),
    ENTRY + 'at = "1s"\ndo = "reload"\nrules = ["no.rules"]\n': (
        "my.toml:10: action.0.rules.0: ", "there is no file"),
    ENTRY + 'at = "1s"\ndo = "reload"\nrule_text = "nonsense"\n': (
        "my.toml:10: action.0.rule_text: ", "rule_text"),
    ENTRY + 'name = "a"\nat = "1s"\ndo = "restore"\n[[action]]\nname = "a"\nat = "2s"\n'
    'do = "restore"\n': ("my.toml:12: action.1.name: ", "another action"),
    ENTRY + 'name = "two words"\nat = "1s"\ndo = "restore"\n': (
        "my.toml:8: action.0.name = 'two words': ", "pattern"),
    WANT + 'within = "1s"\n': ("my.toml:7: expect.0: ", "expects nothing"),
    WANT + 'state = "broken"\n': ("my.toml:8: expect.0.state = 'broken': ", "'normal'"),
    WANT + 'reason = "bad luck"\n': ("my.toml:8: expect.0.reason", "'heartbeat error'"),
    WANT + 'after = "x"\nstate = "normal"\n': ("my.toml:8: expect.0.after: ", "no action is"),
    WANT + 'within = "1s"\nstate = "normal"\n': ("my.toml:7: expect.0: ", "count from something"),
    WANT + 'at = "1s"\nwithin = "1s"\nfor = "1s"\nstate = "normal"\n': (
        "my.toml:7: expect.0: ", "one of within"),
    WANT + 'at = "1s"\nwithin = "1s"\ntransitions = 1\n': (
        "my.toml:7: expect.0: ", "leave out transitions"),
    WANT + 'at = "9s"\nfor = "2s"\nstate = "normal"\n': ("my.toml:9: expect.0.for: ", "the end"),
    WANT + 'alerts = { x = 1 }\n': ("my.toml:8: expect.0.alerts", "its sid"),
    WANT + 'packets = { eaten = 1 }\n': ("my.toml:8: expect.0.packets", "legal: received"),
    WANT + 'subject = "port"\nstate = "normal"\n': ("my.toml:7: expect.0: ", "say which"),
    WANT + 'staet = "normal"\n': ("my.toml:8: expect.0.staet: ", "unknown key; legal: name, only"),
    "duration = \n": ("my.toml:1: ", "not valid TOML"),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_its_line(text: str) -> None:
    begins, holds = WRONG[text]
    said = refusal(text)
    assert said.startswith(begins), said
    assert holds in said, said


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"none.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")
    file = tmp_path / "bad.toml"
    file.write_bytes(b"duration = 1\n\xff")
    with pytest.raises(SettingError, match=r"bad.toml:2: not UTF-8"):
        load(file)
    file.write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(SettingError, match="larger than"):
        load(file)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "my.rules").write_text('alert ip any any -> any any (msg:"x"; sid:5;)\n')
    file = tmp_path / "a" / "my.toml"
    file.parent.mkdir()
    file.write_text('rules = ["../my.rules"]\n' + SOUND)
    assert [rule.sid for rule in compiled(load(file)).ruleset.rules] == [5]


# --- any text at all ------------------------------------------------------------------------

KEYS = sorted({
    *File.model_fields, *Expect.model_fields, "for", "at", "do", "name", "value", "process",
    *(name for kind in KINDS for name in kind.model_fields), "captures", "generate", "workers",
})  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([
        '"1s"', '"2s"', '"1kpps"', '"kill"', '"worker-0"', '"fallback"', '"memory error"', "{}",
        "[]", "true", "1", "-1", "0.5", "nan", '"1gb"', '{ "1" = 2 }', '["a"]', "[[1]]", '""',
        "1979-05-27", '"a\\u0000b"', "99999999999999999999", '{ a = { b = 1 } }',
    ]),
    st.sampled_from([f'"{do_of(kind)}"' for kind in KINDS]),
    st.text(st.characters(exclude_characters='"\\\n\r', exclude_categories=["C"]), max_size=8)
    .map(lambda text: f'"{text}"'),
)  # fmt: skip
LINES = st.one_of(
    st.tuples(st.sampled_from(KEYS), VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    st.sampled_from(["[traffic]", "[appliance]", "[settings]", "[[action]]", "[[expect]]",
                     "[traffic.generate]", "[expect.evidence]", "[[rules]]", "[action]"]),
)  # fmt: skip


def refused_in_order(text: str) -> None:
    """It is sound, or refused with its place; nothing else."""
    try:
        scenario = parse(text, "my.toml", ROOT)
        compiled(scenario)
        offered(scenario)
    except SettingError as error:
        assert PLACE.match(str(error)), str(error)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(LINES, max_size=12), st.booleans())
def test_any_lines_are_sound_or_refused(lines: list[str], begun: bool) -> None:
    refused_in_order((SOUND if begun else "") + "\n".join(lines) + "\n")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([TEMPLATE, *(path.read_text() for path in SHIPPED)]), st.data())
def test_a_sound_file_with_something_changed(text: str, data: st.DataObject) -> None:
    """A line taken out, doubled, or another value in it."""
    lines = text.split("\n")
    at = data.draw(st.integers(0, len(lines) - 1))
    what = data.draw(st.sampled_from(["out", "twice", "value", "cut"]))
    key, equals, _ = lines[at].partition("=")
    if what == "out":
        del lines[at]
    elif what == "twice":
        lines.insert(at, lines[at])
    elif what == "value" and equals:
        lines[at] = f"{key}= {data.draw(VALUES)}"
    else:
        lines[at] = lines[at][: len(lines[at]) // 2]
    refused_in_order("\n".join(lines))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_refused_with_its_line(text: str) -> None:
    refused_in_order(text)


def test_another_policy_changes_one_key() -> None:
    one: Scenario = scene("", settings='[settings]\n"drop-meter.threshold" = 0.8\n')
    other = one.with_sets(("drop-meter.threshold=0.5", "appliance.workers=3"))
    assert (one.settings.drop_meter.threshold, other.settings.drop_meter.threshold) == (0.8, 0.5)
    assert (one.file.appliance.workers, other.file.appliance.workers) == (1, 3)
    assert one.settings.drop_meter.window == other.settings.drop_meter.window
    with pytest.raises(SettingError, match=r"--set appliance.workers=99: appliance.workers"):
        one.with_sets(("appliance.workers=99",))
    with pytest.raises(SettingError, match=r"drop-meter\.threshold"):
        one.with_sets(("drop-meter.threshold=2",))
