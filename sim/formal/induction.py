"""One-step induction, one property at a time, over a model that yosys's write_smt2 made.

smtbmc asks for all properties in one query, which takes yices minutes to hours on the spine.
This asks the same question in pieces: all properties hold of a state (any state, reachable or
not); does the next property hold of its successor? Each one answered joins the premises for the
rest, which is sound, since it was shown of every such successor. The base: initial states.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from pathlib import Path

SLOW = 20.0  # s: a property that takes longer is worth a line
_HERE = re.compile(r"\(\|([^|]+)\| state\)")
_NEXT = re.compile(r"\(\|([^|]+)\| next_state\)")
_DECLARE = re.compile(r"\(declare-fun \|([^|]+)\| \(\|[^|]+\|\) (.*)\)(?: ;.*)?$")
_DEFINE = re.compile(
    r"\(define-fun \|([^|]+)\| \(\(state \|[^|]+\|\)( \(next_state \|[^|]+\|\))?\) "
)
_ASSERT = re.compile(r"; yosys-smt2-assert (\d+) (\S+)")


class Model:
    """A module's state functions, written out for one step at a time.

    What is a function of the state in the file becomes the constant `name@step`: yices is quicker
    without uninterpreted states.
    """

    def __init__(self, text: str) -> None:
        match = re.search(r"yosys-smt2-topmod (\S+)", text)
        if match is None:
            raise ValueError("no model: yosys wrote no yosys-smt2-topmod line")
        self.top = match[1]
        #: Property number -> its name.
        self.names = {int(n): name.removeprefix("_witness_.") for n, name in _ASSERT.findall(text)}
        lines = [re.sub(r" ; .*$", "", line) for line in text.splitlines()]
        self.lines = [x for x in lines if x and not x.startswith((";", "(declare-sort"))]

    def step(self, step: int, transition: bool = False) -> str:
        """All that is said of the state at `step`, or of its transition to the next one."""
        out = []
        wanted = False
        for line in self.lines:
            if line.startswith("("):
                wanted = ("(next_state " in line) == transition
            if not wanted:
                continue
            if m := _DECLARE.match(line):
                out.append(f"(declare-fun |{m[1]}@{step}| () {m[2]})")
                continue
            line = _DEFINE.sub(lambda m: f"(define-fun |{m[1]}@{step}| () ", line)
            line = _HERE.sub(lambda m: f"|{m[1]}@{step}|", line)
            out.append(_NEXT.sub(lambda m: f"|{m[1]}@{step + 1}|", line))
        return "\n".join(out)


class Yices:
    """A yices-smt2 process, asked one query after the other."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen(
            [str(program), "--incremental"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, text: str) -> None:
        """Send commands that answer nothing."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")

    def ask(self, formula: str) -> str:
        """Is `formula` satisfiable together with what was told: sat, unsat or an error text."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.tell(f"(push 1)\n(assert {formula})\n(check-sat)\n(pop 1)")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


def prove(model: Model, yices: Path, limit: float) -> tuple[str, str]:
    """(PASS, FAIL, UNKNOWN or TIMEOUT; which property and why). `limit` in seconds.

    FAIL: a property does not hold of an initial state. UNKNOWN: a property is not inductive.
    """
    top = model.top
    solver = Yices(yices)
    stop = threading.Timer(limit, solver.process.kill)
    stop.start()
    try:
        # Base.
        solver.tell("(set-logic QF_AUFBV)\n" + model.step(0))
        solver.tell(f"(assert |{top}_u@0|)")
        if (answer := solver.ask(f"(and |{top}_i@0| (not |{top}_a@0|))")) != "unsat":
            return ("FAIL", "of an initial state") if answer == "sat" else ("ERROR", answer)
        # Step: what is known of step 1 is declared before the transition that reaches it.
        solver.tell(model.step(1) + "\n" + model.step(0, transition=True))
        solver.tell(f"(assert (and |{top}_a@0| |{top}_t@0| |{top}_u@1|))")
        if (answer := solver.ask("true")) != "sat":  # else everything would follow
            return "ERROR", f"no state goes on to another: {answer}"
        for number, name in model.names.items():
            begin = time.monotonic()
            answer = solver.ask(f"(not |{top}_a {number}@1|)")
            if answer == "":
                return "TIMEOUT", name
            if answer != "unsat":
                return ("UNKNOWN", name) if answer == "sat" else ("ERROR", answer)
            if (seconds := time.monotonic() - begin) > SLOW:
                print(f"{name}: {seconds:.0f} s", flush=True)
            solver.tell(f"(assert |{top}_a {number}@1|)")
        return "PASS", f"{len(model.names)} properties"
    finally:
        stop.cancel()
        solver.process.kill()
        solver.process.wait()
