"""The options that messages and help texts recommend are options there are."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import typer.main

from nsdata import cli

# Strings that are no advice: another program's arguments, and names of CSS variables.
NO_ADVICE = ("offload/rtl/", "offload/transport_cocotb.py", "output/charts.py", "output/html.py",
             "output/report_page.py", "scenario/page.py")  # fmt: skip
OTHERS = {"--fpga"}  # pytest's, of pytest_nsdata


def options(command: click.Command) -> Iterator[str]:
    """Of a command and all below it."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for below in getattr(command, "commands", {}).values():
        yield from options(below)


def test_recommended_options_exist(root: Path) -> None:
    known = {*options(typer.main.get_command(cli.app)), *OTHERS, "--help"}
    recommended = set()
    for path in sorted((root / "nsdata").rglob("*.py")):
        name = str(path.relative_to(root / "nsdata"))
        if name.startswith(NO_ADVICE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                recommended |= {
                    (name, option) for option in re.findall(r"--[a-z][a-z0-9-]+", node.value)
                }
    assert len(recommended) > 50
    assert not sorted((name, option) for name, option in recommended if option not in known)
