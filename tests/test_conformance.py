"""The shared conformance cases: the pass rate of level 1, and no crash at the others.

The runner that lies beside the cases judges; only how a command is run is replaced: by a
fork of this process, so that hundreds of cases take seconds and a crash is still a signal.
"""

import argparse
import importlib.util
import os
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nsdata import cli
from nsdata.config.settings import TREE

LEVEL_1_FLOOR = 0.90
EVERY = 6  # of the cases of other levels: one in so many
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def runner(shared: Path) -> ModuleType:
    """The runner, as a module."""
    path = shared / "conformance" / "run_conformance.py"
    if not path.is_file():
        pytest.skip(f"no {path}")
    spec = importlib.util.spec_from_file_location("run_conformance", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def forked(words: list[str], out: Path, environ: dict[str, str]) -> tuple[int, bool, str]:
    """Run the command line in a child: (exit status or minus the signal, timed out, output)."""
    said = out / "said.txt"
    child = os.fork()
    if child == 0:
        code = 125
        try:
            fd = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            os.chdir(out)
            os.environ.update(environ)
            signal.alarm(TIMEOUT_S)
            sys.argv = ["nsdata", *words]
            try:
                cli.main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
            code = 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    text = said.read_text("utf-8", "replace") if said.exists() else ""
    return code, code == -signal.SIGALRM, text[-4000:]


def make_runner(module: ModuleType, tmp_path: Path, canary: bool) -> Any:
    class Forking(module.Runner):  # type: ignore[name-defined, misc]
        """Runs each command in a fork."""

        def execute(
            self, case: Any, rules: str, pcap: str, extra: list[str], tag: str
        ) -> dict[str, Any]:
            out = tmp_path / re.sub(r"\W", "_", case.id + tag)[-120:]
            out.mkdir(exist_ok=True)
            eve = out / "eve.json"
            words = ["replay", pcap, "--rules", rules, "--eve", str(eve), *extra]
            environ = {str(k): str(v) for k, v in (case.cfg.get("env") or {}).items()}
            start = time.monotonic()
            code, late, text = forked(words, out, environ)
            events: list[dict[str, Any]] | None = None
            fault = None
            if eve.exists():
                events = []
                for number, line in enumerate(eve.read_text("utf-8", "replace").splitlines(), 1):
                    try:
                        events.append(module.json.loads(line))
                    except ValueError:
                        fault = f"line {number} is not JSON"
                eve.unlink()
            crash = late or code < 0 or code >= 126 or "Traceback (most recent" in text
            return {
                "rc": code, "timeout": late, "events": events, "eve_error": fault, "cmd": words,
                "out": text, "secs": time.monotonic() - start, "crash": crash,
            }  # fmt: skip

    names = [re.escape(name) + "[.=]" for name in TREE.keys]
    names += [re.escape(name) + ("" if name[-1] == "." else "[.=]") for name in TREE.aliases]
    supported = ",".join(names)
    return Forking(
        argparse.Namespace(
            command=module.DEFAULT_CMD, option_map=None, supported_sets=supported,
            config_mode="skip", strict_arg="--strict", canary=canary, keep=True,
            timeout=TIMEOUT_S,
        )
    )  # fmt: skip


def cases_of(module: ModuleType, shared: Path) -> list[Any]:
    root = str(shared / "conformance" / "cases")
    version = module.ver("8.0.99")
    return [
        module.Case(folder, root, None, version, module.DEFAULT_FEATURES)
        for folder in module.find_cases(root)
    ]


def test_level_1(runner: ModuleType, shared: Path, tmp_path: Path) -> None:
    cases = [case for case in cases_of(runner, shared) if case.level == "L1"]
    judge = make_runner(runner, tmp_path, canary=True)
    results = [judge.run(case) for case in cases]
    crashed = [(r["id"], r["reason"]) for r in results if "crash" in str(r.get("reason"))]
    assert crashed == []
    positive = Counter(r["status"] for r in results if r["kind"] == "positive")
    ran = positive["pass"] + positive["fail"]
    assert ran, "no positive case of level 1 could run"
    failed = [r["id"] for r in results if r["status"] == "fail"]
    print(f"L1: {positive['pass']} of {ran} positive cases passed; failed: {failed}")
    assert positive["pass"] >= LEVEL_1_FLOOR * ran, failed
    # a zero case is unverified where its own rules or policy keep the canary silent
    apart = Counter(r["status"] for r in results if r["kind"] in ("zero", "reject"))
    print(dict(apart))
    assert apart["fail"] == 0 and apart["zero-verified"] and apart["reject-verified"], apart


def test_no_crash_at_the_other_levels(runner: ModuleType, shared: Path, tmp_path: Path) -> None:
    judge = make_runner(runner, tmp_path, canary=False)
    crashed = []
    others = [case for case in cases_of(runner, shared) if case.level != "L1"]
    for case in others[::EVERY]:
        result = judge.run(case)
        if result["status"] == "fail" and re.match("crash|timeout|EVE", str(result["reason"])):
            crashed.append((case.id, result["reason"], result["output"]))
    assert crashed == []
