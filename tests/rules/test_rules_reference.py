"""docs/rules.md lists what the registry holds, and states what ET rules come to."""

import re
from pathlib import Path

import pytest

from nsdata.rules.reference import with_tables
from nsdata.rules.registry import KEYWORDS
from nsdata.rules.ruleset import load_rules


def test_the_page_is_in_step(root: Path) -> None:
    page = (root / "docs" / "rules.md").read_text(encoding="utf-8")
    assert with_tables(page) == page, "run: python -m nsdata.rules.reference docs/rules.md"


def test_every_keyword_says_what_it_is(root: Path) -> None:
    page = (root / "docs" / "rules.md").read_text(encoding="utf-8")
    for name, known in KEYWORDS.items():
        assert known.help, name
        assert f"`{name}`" in page


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="the page has no"):
        with_tables("nothing")


def test_the_figures_for_et_open_are_true(root: Path, shared: Path) -> None:
    path = shared / "rules" / "et-open-2021.rules"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    page = (root / "docs" / "rules.md").read_text(encoding="utf-8")
    rules = load_rules(path)
    assert len(rules.rules) + len(rules.refused) == 13560
    assert f"{len(rules.rules):,} (" in page
    for keyword, count in rules.refused_by_keyword.items():
        name = keyword.removeprefix("protocol:")
        assert re.search(rf"\| (protocol )?`{name}` \| {count:,} \|", page), keyword


def test_all_conformance_rules_load_or_are_refused(shared: Path) -> None:
    files = sorted((shared / "conformance" / "cases").glob("*/*/*.rules"))
    if not files:
        pytest.skip("no conformance cases there")
    for path in files:
        rules = load_rules(path)
        for error in rules.refused:
            assert error.path == str(path) and error.line >= 1 and error.reason
        rules.load()
