"""The table of proofs and of the mutants that each of them must reject."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

YICES = "smtbmc yices"


@dataclass(frozen=True)
class Proof:
    """One task for SymbiYosys (or, with mode "netlist", for `isolation`)."""

    name: str
    claim: str
    top: str
    sources: tuple[str, ...]  # from the repository's root, packages first
    mode: str = "prove"  # prove (k-induction), bmc, cover or netlist
    depth: int = 3  # steps: of induction, or of the search
    params: dict[str, int] = field(default_factory=dict)
    defines: tuple[str, ...] = ()
    script: tuple[str, ...] = ()  # yosys commands after `prep`
    engine: str = YICES
    timeout: int = 600  # s
    weight: int = 1  # about how many seconds it takes: the longest begin first


@dataclass(frozen=True)
class Mutant:
    """A broken copy of the RTL: `old`, there exactly once in `file`, becomes `new`."""

    name: str
    proof: str
    says: str
    file: str
    old: str
    new: str
    kills: str = ""  # the property that must be the one to fail
    depth: int = 20  # steps of the search for a counterexample
    params: dict[str, int] = field(default_factory=dict)  # over the proof's own
    weight: int = 1

    def as_search(self, proof: Proof) -> Proof:
        """The proof as a search from reset, without its invariants: no property fails but one
        that the ports show."""
        params = {**proof.params, **self.params}
        if "INVARIANTS" in params:
            params["INVARIANTS"] = 0
        return replace(proof, mode="bmc", depth=self.depth, params=params)


def _rtl(*names: str) -> tuple[str, ...]:
    return ("hdl/nsd_pkg.sv", *(f"hdl/{n}.sv" for n in names))


def _harness(name: str, *rtl: str) -> tuple[str, ...]:
    return (*_rtl(*rtl), f"sim/formal/{name}.sv")


PROOFS = [
    *(
        Proof(
            f"ecc_{width}",
            f"of {width} bits: 1 flip is corrected, 2 are detected, none is left alone",
            "nsd_ecc_formal",
            _harness("nsd_ecc_formal", "nsd_ecc_pkg", "nsd_ecc_enc", "nsd_ecc_dec"),
            mode="bmc",
            depth=1,
            params={"W": width},
        )
        for width in (64, 75)
    ),
    Proof(
        "verdict",
        "what the spine is told of a frame follows from that frame's own answers",
        "nsd_verdict_formal",
        _harness("nsd_verdict_formal", "nsd_delay", "nsd_verdict"),
        depth=20,
        params={"LATENCY": 16, "INVARIANTS": 1},
    ),
    Proof(
        "verdict_cover",
        "long CLEAR and short BYPASS frames do occur under the assumptions",
        "nsd_verdict_formal",
        _harness("nsd_verdict_formal", "nsd_delay", "nsd_verdict"),
        mode="cover",
        depth=26,
    ),
    Proof(
        "tap_check",
        "an odd number of wrong bits in a tapped lane is an error, a true copy is none",
        "nsd_tap_check_formal",
        _harness("nsd_tap_check_formal", "nsd_tap_check"),
        params={"DATA_W": 512},
    ),
]

MUTANTS = [
    Mutant(
        "verdict_stale_parse", "verdict", "a one-beat frame gets its predecessor's parse",
        "nsd_verdict.sv",
        "assign suspect_now = dec_next ? key_suspect : suspect_reg;",
        "assign suspect_now = suspect_reg;",
        kills="p_", depth=26,
    ),
    Mutant(
        "verdict_ignores_prefilter", "verdict", "a prefilter hit is forgotten",
        "nsd_verdict.sv",
        "else if (ports_now || pf_suspect)", "else if (ports_now)",
        kills="p_hit_is_suspect", depth=26,
    ),
    Mutant(
        "verdict_early", "verdict", "the flow answer is taken one cycle early",
        "nsd_verdict.sv",
        ".CYCLES(KEY_WAIT)", ".CYCLES(KEY_WAIT - 1)",
        kills="p_", depth=26,
    ),
    Mutant(
        "tap_check_lane", "tap_check", "lane 0 is not compared",
        "nsd_tap_check.sv",
        "|differs_reg;", "|differs_reg[LANES-1:1];",
        kills="p_wrong_copy_seen", depth=6,
    ),
]
