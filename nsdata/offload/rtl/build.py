"""Compile nsd_top and the harness into a shared library, once.

A build lives in build/rtl/ of the checkout (without one, in the user's cache) under a name made
of its parameters and of the content of every source, so that it is made anew exactly when one
of them changed. A lock lets several processes ask for the same build.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from nsdata.errors import OffloadError
from nsdata.offload.rtl.sources import HDL, ROOT, missing, resolve, verilator_root

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
BUILDS = (ROOT / "build" if HDL == ROOT / "hdl" else CACHE / "nsdata") / "rtl"
FLAGS = [
    "--cc", "-O3", "--x-assign", "fast", "--x-initial", "unique", "-Wno-fatal", "-Werror-USERFATAL",
    "-Wno-lint", "--timescale", "1ns/1ps", "--prefix", "Vnsd", "--top-module", "nsd_top", "--exe",
]  # fmt: skip
# The block is full of parities: one instruction each, where there is one.
FAST = "-O2 -mpopcnt" if platform.machine() in ("x86_64", "AMD64") else "-O2"
OPTIMISE = [f"OPT_FAST={FAST}", "OPT_GLOBAL=-O2"]


def compiler() -> list[str]:
    """make's words for the compiler: clang++ where it is, its code is half as fast again."""
    return ["CXX=clang++"] if shutil.which("clang++") else []


def _run(command: list[str], directory: Path, log: Path) -> None:
    environment = {**os.environ, "VERILATOR_ROOT": str(verilator_root())}
    with open(log, "a") as file:
        done = subprocess.run(
            command, cwd=directory, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    if done.returncode:
        lines = [x for x in log.read_text(errors="replace").splitlines() if "rror" in x][:15]
        raise OffloadError("\n".join([f"the RTL does not build; the log is {log}", *lines]))


def build(
    data_w: int = 64,
    sources: Sequence[str | Path] | None = None,
    *,
    faults: bool = False,
    **parameters: int,
) -> Path:
    """The shared library of nsd_top with these parameters (SETS_LOG2=9, ...), built if need be.

    faults: with test-only ports (faults.vlt). Raises OffloadError: something to build with is
    missing (it says what), or a build failed.
    """
    if lacking := missing():
        raise OffloadError(f"the RTL cannot be built: {lacking}")
    parameters = {"DATA_W": data_w, **parameters}
    files = resolve("nsd_top", sources)
    own = [HERE / "harness.cpp", HERE / "harness.h", HERE / "signals.h"]
    ports = [HERE / "faults.vlt"] if faults else []
    content = [hashlib.sha256(f.read_bytes()).hexdigest() for f in (*files, *own, *ports)]
    version = (verilator_root() / "include" / "verilated_config.h").read_text(encoding="utf-8")
    key = json.dumps([parameters, FLAGS, OPTIMISE, compiler(), content, version], sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()
    kind = "nsd_top_faults" if faults else "nsd_top"
    directory = BUILDS / f"{kind}-{data_w}-{digest[:12]}"
    library = directory / "libnsd.so"
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if library.is_file():
            return library
        log = directory / "build.log"
        log.unlink(missing_ok=True)
        verilator = [str(verilator_root() / "bin" / "verilator_bin"), *FLAGS]
        generics = [f"-G{name}={value}" for name, value in parameters.items()]
        cflags = f"-fPIC -I{HERE} -DDATA_W={data_w} -Wall -Wextra"
        _run([*verilator, *generics, "-CFLAGS", cflags, "-LDFLAGS", "-shared -latomic",
              "--Mdir", ".", "-o", "building.so", *map(str, (*ports, *files, own[0]))],
             directory, log)  # fmt: skip
        _run(["make", "-j", "2", "-f", "Vnsd.mk", "CFG_CXXFLAGS_PCH_I=-include", *OPTIMISE,
              *compiler()], directory, log)  # fmt: skip
        for header in directory.glob("*.gch"):  # precompiled: 200 MB each
            header.unlink()
        (directory / "building.so").rename(library)
    return library
