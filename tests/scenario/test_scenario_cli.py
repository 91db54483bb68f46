"""`nsdata scenario` as a person uses it: exit status, files, what is said."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from nsdata.cli import app
from nsdata.errors import OutputError, SettingError
from nsdata.scenario.actions import KINDS, do_of
from nsdata.scenario.reference import markdown
from nsdata.scenario.template import TEMPLATE

QUICK = 'duration = "1s"\n[traffic]\ngenerate = {}\n[[expect]]\nstate = "%s"\n'


def nsdata(*words: object) -> Result:
    """As on a command line; errors raised on purpose come out as they are."""
    done = CliRunner().invoke(app, ["scenario", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.toml"
    file.write_text(QUICK % "normal")
    return file


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad.toml"
    file.write_text(QUICK % "fallback")
    return file


def test_a_new_scenario_runs_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    assert nsdata("new", file).exit_code == 0
    assert file.read_text() == TEMPLATE
    assert "3 actions, 4 expectations" in nsdata("check", file).output
    done = nsdata("run", file)
    assert done.exit_code == 0 and "5 of 5 expectations hold" in done.output
    with pytest.raises(OutputError, match="is there already"):
        nsdata("new", file)


def test_exit_status_says_whether_all_holds(good: Path, bad: Path) -> None:
    assert nsdata("run", good).exit_code == 0
    done = nsdata("run", good, bad)
    assert done.exit_code == 1
    assert f"ok     {good}" in done.output and f"FAILED {bad}" in done.output
    assert f"{bad}:4 state fallback" in done.output
    assert "found:    normal (no error, Info)" in done.output


def test_a_wrong_file_is_found_before_any_is_run(good: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('duration = "1s"\n[traffic]\ngenerate = {}\nrate = 7\n')
    for verb in ("run", "check"):
        with pytest.raises(SettingError, match=r"wrong.toml:4: traffic.rate"):
            nsdata(verb, good, wrong)


def test_reports_and_files_are_written(good: Path, bad: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = nsdata(
        "run", good, bad, "--junit", tmp_path / "j.xml", "--html", tmp_path / "r.html",
        "--out", out, "--json",
    )  # fmt: skip
    assert done.exit_code == 1
    assert [one["ok"] for one in json.loads(done.output)] == [True, False]
    assert ET.parse(tmp_path / "j.xml").getroot().get("failures") == "1"
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
    assert sorted(one.name for one in out.iterdir()) == [
        f"{name}.{end}" for name in ("bad", "good")
        for end in ("eve.json", "ledger.json", "summary.json")
    ]  # fmt: skip
    for line in (out / "good.eve.json").read_text().splitlines():
        json.loads(line)
    assert json.loads((out / "good.ledger.json").read_text())["received"]["packets"] == 1000


def test_files_are_not_written_through_links(good: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "out" / "good.eve.json").symlink_to(precious)
    assert nsdata("run", good, "--out", tmp_path / "out").exit_code == 0
    assert precious.read_text() == "precious"
    found = tmp_path / "out" / "good.eve.json"
    assert found.stat().st_size > 0 and not found.is_symlink()


def test_two_files_of_one_name_are_not_written_over_each_other(good: Path, tmp_path: Path) -> None:
    other = tmp_path / "sub" / "good.toml"
    other.parent.mkdir()
    other.write_text(good.read_text())
    with pytest.raises(SettingError, match="both called good"):
        nsdata("run", good, other, "--out", tmp_path / "out")


def test_policies_are_compared(good: Path, tmp_path: Path) -> None:
    done = nsdata("compare", good, "--set", "appliance.workers=1,2", "--html", tmp_path / "c.html")
    assert done.exit_code == 0 and "appliance.workers=1" in done.output
    assert "appliance.workers=2" in (tmp_path / "c.html").read_text()
    rows = json.loads(nsdata("compare", good, "--set", "traffic.rate=1kpps,2kpps", "--json").output)
    assert [one["policy"] for one in rows] == ["traffic.rate=1kpps", "traffic.rate=2kpps"]


@pytest.mark.parametrize("verb", ["", "run", "check", "new", "compare"])
def test_help_teaches(verb: str) -> None:
    said = nsdata(*[verb] if verb else [], "--help").output
    assert "scenario" in said and len(said.splitlines()) > 10


def test_the_reference_is_that_of_the_models(root: Path) -> None:
    text = (root / "docs" / "scenarios.md").read_text()
    held = text.partition("<!-- reference -->\n")[2].partition("<!-- /reference -->")[0]
    assert held.strip() == markdown().strip()
    for kind in KINDS:
        assert f'`do = "{do_of(kind)}"`' in held


def test_the_tutorial_runs(root: Path, tmp_path: Path) -> None:
    """The scenario of docs/scenarios.md, piece by piece as it grows there."""
    text = (root / "docs" / "scenarios.md").read_text()
    blocks = [part.partition("```")[0] for part in text.split("```toml\n")[1:]]
    whole = "".join(block for block in blocks if not block.startswith("# Not of the tutorial"))
    file = tmp_path / "first.toml"
    file.write_text(whole)
    done = nsdata("run", file)
    assert done.exit_code == 0, done.output
