"""The laws of the code, as tests: who may import whom, what may grow, what must be said.

Imports and cimports are read from the text of .py, .pyx, .pxd and .pxi files, so nothing need be
built. Each law has a sample that breaks it, because a law that cannot fail holds nothing.
"""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("nsdata", "benches", "sim", "tools")

CYTHON = (".pyx", ".pxd", ".pxi")
LONGEST = 500  # lines
LONG_FILES: dict[str, str] = {  # path -> why it may be longer
    "nsdata/path/defrag.pyx": "a tracker, its pages and its policies are one thing",
    "hdl/nsd_regs.sv": "generated",
    "hdl/nsd_regs_pkg.sv": "generated",
}

# nsdata/path: what every stage may see, and the modules that run them all.
VOCABULARY = {
    "packet", "events", "rulebase", "prefilter", "hs", "pcre2", "ring", "shared", "status",
}  # fmt: skip
BORDER = ("engine", "inspector", "port")

HOSTS = ("nsdata.replay", "nsdata.appliance", "nsdata.scenario", "nsdata.manager")
PROTOCOL = "nsdata.appliance.protocol"  # what a manager may see of an appliance
FRONT = "nsdata.cli"
MAY_IMPORT_HOSTS = ("nsdata", "nsdata.__main__", FRONT)  # `nsdata` re-exports the public names
DRIVES = {"nsdata.scenario": ("nsdata.appliance",)}  # a host that runs another one, never back

# nsdata/fallback decides; it is given values and a clock, and reads no file.
PURE = {
    "__future__", "abc", "bisect", "collections", "cpython", "cython", "dataclasses", "enum",
    "fractions", "functools", "heapq", "ipaddress", "itertools", "json", "libc", "math",
    "operator", "pydantic", "re", "string", "struct", "tomllib", "types", "typing",
}  # fmt: skip
PURE_HELPERS = ("nsdata.toml_text", "nsdata.units")  # held to the same law as fallback
WORLDLY_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}


@dataclass
class Module:
    """One source file as the laws see it: its dotted name and what it names by import."""

    name: str
    path: str
    imports: set[str] = field(default_factory=set)  # as written, made absolute
    typing_only: set[str] = field(default_factory=set)  # under `if TYPE_CHECKING:`


def dotted(path: Path) -> str:
    """nsdata/path/flow.pyx -> nsdata.path.flow; a package is named by its directory."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def absolute(package: str, level: int, target: str) -> str:
    """Resolve the leading dots of `from ..x import y` inside `package`."""
    if not level:
        return target
    parts = package.split(".")
    base = parts[: len(parts) - (level - 1)]
    return ".".join([*base, target] if target else base)


def python_imports(text: str, package: str) -> tuple[set[str], set[str]]:
    """The imports of a .py file: (run, for the type checker only)."""
    run: set[str] = set()
    typing_only: set[str] = set()

    def visit(node: ast.AST, into: set[str]) -> None:
        if isinstance(node, ast.Import):
            into.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(package, node.level, node.module or "")
            into.update(f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.body:
                visit(child, typing_only)
            for child in node.orelse:
                visit(child, into)
            return
        for child in ast.iter_child_nodes(node):
            visit(child, into)

    visit(ast.parse(text), run)
    return run, typing_only


def cython_lines(text: str) -> list[str]:
    """The logical lines of a .pyx/.pxd: no comments, strings emptied, brackets joined."""
    text = re.sub(
        r'("""|\'\'\').*?\1|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*',
        lambda m: "" if m[0][0] == "#" else '""',
        text,
        flags=re.S,
    ).replace("\\\n", " ")
    lines, open_brackets = [""], 0
    for line in text.split("\n"):
        lines[-1] += line
        open_brackets += len(re.findall(r"[(\[{]", line)) - len(re.findall(r"[)\]}]", line))
        if open_brackets > 0:
            lines[-1] += " "
        else:
            open_brackets = 0
            lines.append("")
    return lines


def cython_imports(text: str, package: str) -> set[str]:
    """The imports and cimports of a .pyx/.pxd file."""
    found: set[str] = set()
    for line in cython_lines(text):
        for statement in line.split(";"):
            if m := re.match(r"\s*from\s+(\.*)\s*([\w.]*)\s+c?import\s+(.*)", statement):
                base = absolute(package, len(m[1]), m[2])
                names = m[3].strip().strip("()")
                found.update(f"{base}.{n.split()[0]}" for n in names.split(",") if n.strip())
            elif m := re.match(r"\s*c?import\s+(.*)", statement):
                found.update(n.split()[0] for n in m[1].split(",") if n.strip())
    return found


def read_module(path: Path, text: str) -> Module:
    """`path` is relative to the repository."""
    name = dotted(path)
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    if path.suffix == ".py":
        return Module(name, str(path), *python_imports(text, package))
    return Module(name, str(path), cython_imports(text, package))


def source_files(*suffixes: str, under: tuple[str, ...] = SOURCES) -> Iterator[Path]:
    for top in under:
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in suffixes and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT)


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    """Every module of the sources; a .pyx and its .pxd are one module read twice."""
    files = source_files(".py", *CYTHON)
    return [read_module(path, (ROOT / path).read_text(encoding="utf-8")) for path in files]


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


# --- the laws: each returns its breaches ------------------------------------------------


def stage_of(part: str) -> str:
    """decode_tunnel is a part of the stage decode."""
    return part.split("_")[0]


def stage_breaches(module: Module) -> list[str]:
    """A stage sees the vocabulary and its own parts; of the rest of nsdata, only errors."""
    if not within(module.name, "nsdata.path") or module.name == "nsdata.path":
        return []
    own = module.name.split(".")[2]
    found = []
    for target in sorted(module.imports):
        if not within(target, "nsdata") or within(target, "nsdata.errors"):
            continue
        if not within(target, "nsdata.path"):
            found.append(f"{module.path}: imports {target}; the path sees nsdata.errors only")
            continue
        part = [*target.split("."), ""][2]
        allowed = part in VOCABULARY or stage_of(part) == stage_of(own)
        # The vocabulary is below the stages; the border is above them.
        if own in VOCABULARY:
            allowed = part in VOCABULARY
        elif stage_of(own) in BORDER:
            allowed = True
        if not allowed:
            found.append(f"{module.path}: the stage {stage_of(own)} imports {target}")
    return found


def fallback_breaches(module: Module) -> list[str]:
    if not within(module.name, "nsdata.fallback", *PURE_HELPERS):
        return []
    return [
        f"{module.path}: imports {target}; what decides touches nothing of the world"
        for target in sorted(module.imports)
        if target.split(".")[0] not in PURE
        and not within(target, "nsdata.errors", "nsdata.fallback", *PURE_HELPERS)
    ]


def worldly_calls(path: str, text: str) -> list[str]:
    return [
        f"{path}:{node.lineno}: calls {node.func.id}(); reading and writing is for the hosts"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in WORLDLY_CALLS
    ]


def drives(name: str, host: str) -> bool:
    """Whether the module belongs to a host that runs this other one."""
    return any(within(name, one) and host in others for one, others in DRIVES.items())


def direction_breaches(module: Module) -> list[str]:
    """Nothing below imports a host, nobody a front; foreign giants have one place each."""
    found = []
    for target in sorted(module.imports | module.typing_only):
        outside = not within(module.name, "nsdata")  # benches, tools and sim stand above all
        for host in HOSTS:
            shared = within(module.name, "nsdata.manager") and within(target, PROTOCOL)
            if within(target, host) and not (
                shared or outside or within(module.name, host, FRONT)
                or module.name in MAY_IMPORT_HOSTS or drives(module.name, host)
            ):  # fmt: skip
                found.append(f"{module.path}: imports the host {target}")
        starts = module.name == "nsdata.__main__" or within(module.name, FRONT)
        if within(target, FRONT) and not (outside or starts):
            found.append(f"{module.path}: imports {target}; nobody imports cli")
        if within(target, "cocotb") and not within(module.name, "sim"):
            found.append(f"{module.path}: imports cocotb outside sim/")
        if within(target, "dask", "distributed") and module.name != "nsdata.replay.cluster":
            found.append(f"{module.path}: imports dask outside nsdata/replay/cluster")
        if module.name == "nsdata.errors" and within(target, "nsdata"):
            found.append(f"{module.path}: errors imports nothing of ours, but {target}")
        if module.name == "nsdata.offload.driver" and re.match(
            r"nsdata\.offload\.transport_|nsdata\.offload\.transport\.(?!Transport)", target
        ):
            found.append(f"{module.path}: the driver knows no concrete transport ({target})")
    return found


def cycle(modules: list[Module]) -> list[str]:
    """One import cycle as a list of module names, or nothing."""
    names = {m.name for m in modules}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for module in modules:
        for target in module.imports:
            while target not in names and "." in target:
                target = target.rpartition(".")[0]  # a name inside a module
            if target in names and target != module.name:
                graph[module.name].add(target)
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph[name]):
            if found := walk(target, [*trail, name]):
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        if found := walk(name, []):
            return found
    return []


def raising_nogil(path: str, text: str) -> list[str]:
    """`cdef … nogil` functions that may raise: each call would have to check for it."""
    return [
        f"{path}: {line.strip()[:90]}: nogil without noexcept"
        for line in cython_lines(text)
        if re.match(r"\s*(cdef|cpdef)\b(?!\s+(extern|struct|union|enum|class))[^=]*\(", line)
        and re.search(r"\)[^()]*\bnogil\b", line)
        and "noexcept" not in line.rpartition(")")[2]
    ]


def undocumented(path: str, text: str) -> list[str]:
    """Public functions and classes of a .py file without a docstring."""
    tree = ast.parse(text)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [
        f"{path}:{node.lineno}: {node.name} says nothing"
        for node in tree.body
        if isinstance(node, kinds)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and not any("overload" in ast.dump(d) for d in node.decorator_list)
    ]
    if tree.body and not ast.get_docstring(tree):
        found.append(f"{path}:1: the module says nothing")
    return found


def undocumented_cython(path: str, text: str) -> list[str]:
    """Public Python doors of a .pyx file (`def`, `cpdef`, `cdef class`) without a docstring."""
    lines = cython_lines(text)
    found = []
    for index, line in enumerate(lines):
        m = re.match(r"(?:def|cpdef [\w *]*?|cdef class|class)\s*\b([a-zA-Z]\w*)\s*[(:]", line)
        if not m or m[1].startswith("_") or re.match(r"cpdef\s+enum", line):
            continue
        body = next((rest for rest in lines[index + 1 :] if rest.strip()), "")
        if not re.match(r'\s+[rf]?""', body):
            found.append(f"{path}: {m[1]} says nothing")
    return found


# Written apart so that this file does not hold what it forbids.
MACHINE = re.compile(
    r"(?<![\w.~-])/(?:wo" r"rk|ro" r"ot)/|/ho" r"me/\w|/opt/(?:pypi|wheels)|"
    r"(?:pyp" r"i\.org|pythonho" r"sted\.org|deb\.deb" r"ian\.org|proxy\.gol" r"ang\.org)|"
    r"(?:extra-)?index-u" r"rl\b|artifac" r"tory"
)  # fmt: skip


def machine_paths(path: str, text: str) -> list[str]:
    return [
        f"{path}:{number}: {m[0]} is of one machine only"
        for number, line in enumerate(text.split("\n"), 1)
        if (m := MACHINE.search(line))
    ]


# --- the laws hold ----------------------------------------------------------------------


def test_stages_see_the_vocabulary_only(modules: list[Module]) -> None:
    assert not [b for m in modules for b in stage_breaches(m)]


def test_what_decides_touches_nothing_of_the_world(modules: list[Module]) -> None:
    breaches = [b for m in modules for b in fallback_breaches(m)]
    for path in (Path(m.path) for m in modules if m.path.endswith(".py")):
        if within(dotted(path), "nsdata.fallback", *PURE_HELPERS):
            breaches += worldly_calls(str(path), (ROOT / path).read_text(encoding="utf-8"))
    assert not breaches


def test_imports_point_one_way(modules: list[Module]) -> None:
    assert not [b for m in modules for b in direction_breaches(m)]


def test_no_import_cycle(modules: list[Module]) -> None:
    found = cycle([m for m in modules if within(m.name, "nsdata")])
    assert not found, " -> ".join(found)


def test_nogil_functions_of_the_path_cannot_raise() -> None:
    breaches = []
    for path in source_files(*CYTHON, under=("nsdata/path",)):
        breaches += raising_nogil(str(path), (ROOT / path).read_text(encoding="utf-8"))
    assert not breaches


def test_no_file_grows_without_a_reason() -> None:
    lines = {
        str(path): (ROOT / path).read_text(encoding="utf-8").count("\n")
        for path in source_files(
            ".py", *CYTHON, ".c", ".sv", ".sh", under=(*SOURCES, "tests", "hdl")
        )
    }
    grown = {p: n for p, n in lines.items() if n > LONGEST and p not in LONG_FILES}
    assert not grown, "split along a seam, or give a reason in LONG_FILES"
    assert not {p for p in LONG_FILES if lines.get(p, 0) <= LONGEST}, "reasons no longer needed"


def test_no_two_tests_share_a_file_name() -> None:
    """Their folders are no packages: pytest would collect only one of the two."""
    counts = Counter(path.name for path in source_files(".py", under=("tests",)))
    assert not {n for n, count in counts.items() if count > 1} - {"conftest.py", "__init__.py"}


def test_public_names_have_docstrings() -> None:
    breaches = []
    for path in source_files(".py", ".pyx", under=("nsdata",)):
        check = undocumented if path.suffix == ".py" else undocumented_cython
        breaches += check(str(path), (ROOT / path).read_text(encoding="utf-8"))
    assert not breaches


def test_no_tracked_file_names_one_machine() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listing.returncode:
        pytest.skip("not a git checkout: what is tracked is not known")
    breaches = []
    for name in listing.stdout.decode().split("\0"):
        path = ROOT / name
        if not name or not path.is_file() or path.is_symlink():
            continue
        data = path.read_bytes()
        if b"\0" not in data:
            breaches += machine_paths(name, data.decode("utf-8", "replace"))
    assert not breaches


# --- each law can be broken -------------------------------------------------------------

BROKEN = {
    "nsdata/path/flow.pyx": "from nsdata.path.packet cimport Packet\ncimport nsdata.path.stream\n",
    "nsdata/path/decode_tunnel.pyx": "from .decode cimport decode\nfrom . cimport (\n  defrag)\n",
    "nsdata/path/packet.pxd": "from nsdata.path.flow cimport Table\n",
    "nsdata/path/detect.pyx": "from nsdata.rules import compile  # no\n",
    "nsdata/fallback/ledger.py": "import enum\nfrom time import monotonic\nimport nsdata.errors\n",
    "nsdata/fallback/meter.pyx": "from libc.stdint cimport uint64_t\nimport socket\n",
    "nsdata/rules/parse.py": "def f():\n    from nsdata.replay.run import replay\n",
    "nsdata/replay/run.py": "import nsdata.cli\n",
    "nsdata/appliance/port.py": "from nsdata.scenario.virtual import Box\n",
    "nsdata/scenario/run.py": "from nsdata.replay import run\n",
    "nsdata/scenario/page.py": "import nsdata.cli.scenario\n",
    "nsdata/manager/ingest.py": "from nsdata.appliance.store import Store\n",
    "nsdata/appliance/agent/agent.py": "from nsdata.manager.commands import ask\n",
    "nsdata/output/eve.py": "import cocotb.triggers\n",
    "nsdata/replay/report.py": "import dask\n",
    "nsdata/errors.py": "from nsdata import config\n",
    "nsdata/offload/driver.py": "from nsdata.offload.transport import PcieTransport\n",
}


@pytest.mark.parametrize("path", BROKEN)
def test_a_breach_is_seen(path: str) -> None:
    module = read_module(Path(path), BROKEN[path])
    laws = (stage_breaches, fallback_breaches, direction_breaches)
    assert len([b for law in laws for b in law(module)]) == 1


def test_what_is_lawful_passes() -> None:
    lawful = {
        "nsdata/path/engine.pyx": "from nsdata.path cimport decode, flow\nimport nsdata.errors\n",
        "nsdata/path/detect.pyx": "from nsdata.path.hs cimport x\nfrom .detect_re cimport m\n",
        "nsdata/path/stream.pyx": '"""\nimport nsdata.replay\n"""\n# cimport nsdata.path.flow\n',
        "nsdata/cli/__init__.py": "from nsdata.replay import run\n",
        "nsdata/cli/scenario.py": "from nsdata.scenario import run\n",
        "nsdata/scenario/real_box.py": "from nsdata.appliance.control import ask\n",
        "nsdata/manager/ingest.py": "from nsdata.appliance.protocol import Batch\n",
        "nsdata/offload/driver.py": "from nsdata.offload.transport import Transport\n",
        "benches/bench_replay.py": "from nsdata.replay import run\n",
        "sim/bridge.py": "import cocotb\n",
    }
    laws = (stage_breaches, fallback_breaches, direction_breaches)
    for path, text in lawful.items():
        module = read_module(Path(path), text)
        assert not [b for law in laws for b in law(module)]


def test_a_cycle_is_seen() -> None:
    a = read_module(Path("nsdata/a.py"), "from nsdata.b import f\n")
    b = read_module(Path("nsdata/b.pyx"), "from nsdata cimport a\n")
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nsdata import a\n"
    assert cycle([a, b]) == ["nsdata.a", "nsdata.b", "nsdata.a"]
    assert not cycle([a, read_module(Path("nsdata/b.py"), typed)])


def test_the_other_breaches_are_seen() -> None:
    assert worldly_calls("x", "def f():\n    return open('y')\n")
    assert raising_nogil("x", "cdef inline int f(\n    int a,\n) nogil:\n    pass\n")
    assert raising_nogil("x", "cdef int f(int (*g)(int) noexcept) except -1 nogil:\n")
    assert not raising_nogil("x", "cdef int f(int a) noexcept nogil:\n")
    assert not raising_nogil("x", 'cdef extern from "x.h" nogil:\n    int f(int)\n')
    assert undocumented("x", '"""m"""\ndef f():\n    pass\n')
    assert undocumented("x", '"""m"""\nclass C:\n    x = 1\n')
    assert not undocumented("x", '"""m"""\ndef _f():\n    pass\n')
    assert undocumented_cython("x", "def f(a,\n      b):\n    return 1\n")
    assert not undocumented_cython("x", 'cpdef enum E:\n    A = 0\ndef f(a):\n    """says"""\n')
    assert machine_paths("x", "/".join(["see ", "root", "file"]))
    assert not machine_paths("x", "net/work/x and /rooted")
