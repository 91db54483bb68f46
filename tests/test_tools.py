"""The scripts of tools/ do what the Makefile relies on."""

import gzip
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import zstandard


def load(root: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, root / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unpacked(name: str, data: bytes) -> bytes:
    if name.endswith(".zst"):
        return zstandard.ZstdDecompressor().decompress(data)
    if name.endswith(".gz") and not name.startswith("truncated"):
        return gzip.decompress(data)
    return data


def test_variants_follow_from_the_recording(root: Path, captures: Path, office: Path) -> None:
    made = load(root, "make_variants")
    wanted = made.variants(made.pick(office))
    present = {p.name: p.read_bytes() for p in (captures / "variants").iterdir()}
    assert set(present) == set(wanted)
    for name, data in present.items():
        if name != "truncated.pcap.gz":  # where deflate ends early depends on zlib's release
            assert unpacked(name, data) == unpacked(name, wanted[name]), name


PATH_PYX = "cdef void f(int a) {}nogil:\n    pass\ndef g():\n    with nogil:\n        f(1)\n"


@pytest.mark.parametrize(("words", "status"), [("", 1), ("noexcept ", 0), ("noexept ", 1)])
def test_a_hidden_gil_fails_the_check(root: Path, tmp_path: Path, words: str, status: int) -> None:
    path = tmp_path / "nsdata" / "path"
    path.mkdir(parents=True)
    shutil.copy(root / "setup.py", tmp_path)
    for package in (path, path.parent):
        (package / "__init__.py").touch()
    (path / "sample.pyx").write_text(PATH_PYX.format(words))
    script = str(root / "tools" / "gil_hints.py")
    done = subprocess.run([sys.executable, script, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == status
    if words == "":
        assert "nsdata/path/sample.pyx:1" in done.stderr


def test_packages_name_a_group_the_makefile_or_the_scripts_use(root: Path) -> None:
    scripts = "".join(
        (root / name).read_text() for name in ("Makefile", "tools/venv.sh", "tools/record_demo.py")
    )
    used = {
        group
        for groups in re.findall(r"(?m)^\s*@?tools/packages\.sh ([a-z ]+)", scripts)
        for group in groups.split()
    }
    lines = [
        line.split()
        for line in (root / "packages.txt").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    assert all(len(words) == 2 for words in lines)
    assert {group for _, group in lines} == used


def test_what_is_shared_is_not_there(root: Path, tmp_path: Path) -> None:
    """Where it could be is said; what can do without does."""

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command], cwd=root, capture_output=True, text=True,
            env={**os.environ, "NSDATA_SHARED": str(tmp_path / "none"), "PYTHONPATH": str(root)},
        )  # fmt: skip

    done = run("tools/prefilter_check.py", "misses")
    assert done.returncode == 2 and "NSDATA_SHARED" in done.stderr
    done = run("benches/silent_faults.py", "--runs", "1", "--rtl-runs", "0")
    assert done.returncode == 0 and "frames of office.pcap" in done.stdout, done.stderr


def test_waves_want_a_test(root: Path) -> None:
    def wave(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "-n", "wave", *words], cwd=root, capture_output=True, text=True
        )

    refused = wave()
    assert refused.returncode == 2 and "make wave TEST=sim/verdict" in refused.stderr
    assert wave("TEST=sim/verdict").returncode == 0


def test_the_proofs_say_what_there_is(root: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(root / "sim" / "formal" / "run.py"), *words]
        return subprocess.run(command, capture_output=True, text=True)

    for words, target in (((), "formal"), (("--mutants",), "formal-mutants")):
        refused = run(*words, "--only", "nonsense")
        hint = re.search(r"make ([\w-]+) LIST=1", " ".join(refused.stdout.split()))
        assert refused.returncode == 2 and hint and hint[1] == target
        made = subprocess.run(
            ["make", "-n", target, "LIST=1"], cwd=root, capture_output=True, text=True
        )
        assert "--list" in made.stdout
        assert run(*words, "--list").stdout.count(": ") > 5


def test_setup_names_only_listed_packages(root: Path) -> None:
    """The packages setup.py tells the reader to install are those `make setup` installs."""
    listed = {line.split()[0] for line in (root / "packages.txt").read_text().splitlines() if line}
    named = set(re.findall(r'"(lib[\w-]+-dev)"', (root / "setup.py").read_text()))
    assert named and named <= listed
