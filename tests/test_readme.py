"""The Python of the README and of the documents that promise it runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = {
    f"{name}-{number}": code
    for name in ("README.md", "docs/offload.md")
    for number, code in enumerate(
        re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.S)
    )
}


@pytest.mark.parametrize("name", BLOCKS)
def test_python_of_the_documents_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("demo", "tests"):  # read from the checkout; what is written goes elsewhere
        (tmp_path / place).symlink_to(ROOT / place)
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[name], name, "exec"), {})
    assert capsys.readouterr().out.strip()


def test_the_driver_says_what_its_example_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS["docs/offload.md-0"], "docs/offload.md", "exec"), {})
    assert capsys.readouterr().out == "['CLEAR', 'SUSPECT', 'CLEAR']\n"


def test_there_is_python_in_the_documents() -> None:
    assert len(BLOCKS) >= 3
