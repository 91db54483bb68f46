"""The table of proofs; what each of them must reject is in `mutants`."""

from __future__ import annotations

from dataclasses import dataclass, field

YICES = "smtbmc yices"
Patch = tuple[str, str, str]  # file of hdl/, text there exactly once, what takes its place


@dataclass(frozen=True)
class Proof:
    """One task for SymbiYosys (or, with mode "netlist", for `isolation`)."""

    name: str
    claim: str
    top: str
    sources: tuple[str, ...]  # from the repository's root, packages first
    mode: str = "prove"  # prove (k-induction), induction (one-step), bmc, cover, netlist
    depth: int = 3  # steps: of induction, or of the search
    params: dict[str, int] = field(default_factory=dict)
    includes: tuple[str, ...] = ()  # files that the sources include
    engine: str = YICES
    timeout: int = 3600  # s
    weight: int = 1  # about how many seconds it takes: the longest begin first
    #: Upsets that the RTL has no port for, put into the copy that is proven.
    patches: tuple[Patch, ...] = ()


def _rtl(*names: str) -> tuple[str, ...]:
    return ("hdl/nsd_pkg.sv", *(f"hdl/{n}.sv" for n in names))


def _harness(name: str, *rtl: str) -> tuple[str, ...]:
    return (*_rtl(*rtl), f"sim/formal/{name}.sv")


_SPINE = (
    "nsd_ecc_pkg",
    "nsd_ram",
    "nsd_spine_credit",
    "nsd_spine_line",
    "nsd_spine_fetch",
    "nsd_spine_exit",
    "nsd_spine",
)
_ABSTRACT = tuple(f"sim/formal/abstract/nsd_ecc_{n}.sv" for n in ("enc", "dec", "fix"))

_UPSETS = (
    (
        "nsd_errors.sv",
        "assign copies[i] = copy_reg;",
        "assign copies[i] = copy_reg ^ nsd_errors_formal.latch_flip[i];",
    ),
    (
        "nsd_errors.sv",
        "state_reg <= state_next;",
        "state_reg <= state_next ^ nsd_errors_formal.state_flip;",
    ),
)

PROOFS = [
    Proof(
        "ecc_linear",
        "the syndrome is made of XOR gates alone: it depends on the flipped bits alone",
        "nsd_ecc_dec",
        (),
        mode="netlist",
    ),
    *(
        Proof(
            f"spine_{width}",
            "nothing lost, made, reordered or changed; no fragment; a fault permits",
            "nsd_spine_formal",
            (*_rtl(*_SPINE), *_ABSTRACT, "sim/formal/nsd_spine_formal.sv"),
            includes=("sim/formal/nsd_spine_inside.svh",),
            mode="induction",
            params={"DATA_W": width, "LATENCY": 18, "DEPTH": 64, "INVARIANTS": 1},
            weight=200,
        )
        for width in (64, 512)
    ),
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
        params={"LATENCY": 18, "INVARIANTS": 1},
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

PROOFS += [
    *(
        Proof(
            f"ecc_fix_{width}",
            f"the registered second half of the decoder says what the decoder does, {width} bits",
            "nsd_ecc_fix_formal",
            _harness(
                "nsd_ecc_fix_formal", "nsd_ecc_pkg", "nsd_ecc_enc", "nsd_ecc_dec", "nsd_ecc_fix"
            ),
            depth=3,
            params={"W": width},
        )
        for width in (64, 75)
    ),
    Proof(
        "spine_cover",
        "drops, CLEAR and a fault inside a frame do occur under the assumptions",
        "nsd_spine_formal",
        (*_rtl(*_SPINE), *_ABSTRACT, "sim/formal/nsd_spine_formal.sv"),
        mode="cover",
        depth=20,
        params={"DATA_W": 64, "LATENCY": 8, "DEPTH": 32, "INVARIANTS": 0},
        weight=100,
        includes=("sim/formal/nsd_spine_inside.svh",),
    ),
    Proof(
        "axis_check",
        "within 14 cycles: breaches of AXI4-Stream are told, nothing else is",
        "nsd_axis_check_formal",
        _harness("nsd_axis_check_formal", "nsd_axis_check"),
        mode="bmc",
        depth=14,
        params={"DATA_W": 64, "MAX_FRAME": 48},
        weight=20,
    ),
    Proof(
        "isolation",
        "in nsd_top, tables reach the traffic through the spine's free inputs alone",
        "nsd_top",
        (),
        mode="netlist",
        weight=10,
    ),
    Proof(
        "errors",
        "a fatal error is a fault one cycle later and until an allowed re-arm, whatever is upset",
        "nsd_errors_formal",
        _harness("nsd_errors_formal", "nsd_error_record", "nsd_errors"),
        depth=4,
        params={"RESET_CYCLES": 32, "INVARIANTS": 1},
        weight=30,
        patches=_UPSETS,
    ),
    Proof(
        "errors_cover",
        "arming and an accepted re-arm do occur under the assumptions",
        "nsd_errors_formal",
        _harness("nsd_errors_formal", "nsd_error_record", "nsd_errors"),
        mode="cover",
        depth=24,
        params={"RESET_CYCLES": 1, "INVARIANTS": 0},
        weight=10,
        patches=_UPSETS,
    ),
]
