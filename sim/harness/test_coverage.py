"""The reading and judging of coverage records."""

from pathlib import Path

import pytest

from sim import points
from sim.coverage import Waiver, failures, judge, listing, records, report, spans, waivers
from sim.elaboration import elaboration_lines

SOURCE = {"nsd_x.sv": ["always_comb begin", "  a = 1;", "  if (b)", "    a = 2;", "end"]}


def record(
    line: int, page: str, what: str, covers: str, count: int, *, top: str = "t", path: str = "hdl"
) -> bytes:
    """One record as Verilator writes it."""
    values = {"f": f"/x/{path}/nsd_x.sv", "l": line, "n": 3, "page": f"{page}/nsd_x", "o": what,
              "S": covers, "h": top}  # fmt: skip
    text = "".join(f"\x01{key}\x02{value}" for key, value in values.items() if value != "")
    return f"C '{text}' {count}\n".encode()


DATA = b"# SystemC::Coverage-3\n" + b"".join([
    record(1, "v_line", "block", "1-3", 9),
    record(3, "v_branch", "if", "4", 0),
    record(3, "v_branch", "else", "", 9),
    record(1, "v_line", "block", "1-3", 9, path="sim"),
])  # fmt: skip


def counted(data: bytes) -> dict:
    return dict(records(data))


def test_records_are_read() -> None:
    pieces = counted(DATA)
    assert len(pieces) == 3  # that of sim/ is not counted
    assert {(p.line, p.what, p.branch, p.covers): n for p, n in pieces.items()} == {
        (1, "block", False, (1, 2, 3)): 9, (3, "if", True, (4,)): 0, (3, "else", True, ()): 9,
    }  # fmt: skip
    assert spans("12-14,17") == (12, 13, 14, 17) and spans("") == ()


def test_what_was_not_reached_fails_and_is_listed() -> None:
    modules, _ = judge(counted(DATA), [], SOURCE)
    (module,) = modules
    assert (module.line_percent, module.branch_percent) == (75.0, 50.0)
    assert module.missed_lines == [4] and len(module.missed_branches) == 1
    said = failures(modules, [], [], SOURCE)
    assert len(said) == 2 and "75.0 % of lines" in said[0] and "50.0 % of branches" in said[1]
    rows = listing(module, SOURCE["nsd_x.sv"]).splitlines()
    assert rows[3].startswith("!") and "not taken: if" in rows[2]
    text = report(modules, [], [("verdict", "CLEAR", "64")])
    assert "nsd_x.sv:4" in text and "verdict: CLEAR: 64" in text


def test_a_waiver_excuses_only_what_it_names() -> None:
    body = Waiver("nsd_x.sv", "a = 2;", "a reason long enough")
    way = Waiver("nsd_x.sv", "if (b)", "a reason long enough", branch_only=True)
    other = Waiver("nsd_x.sv", "a = 7;", "a reason long enough")
    modules, useless = judge(counted(DATA), [body, way, other], SOURCE)
    assert not modules[0].missed_lines and not modules[0].missed_branches
    assert modules[0].waived == 2 and useless == [other]
    assert failures(modules, useless, [], SOURCE) == ["1 waivers nothing needs"]


def test_a_waiver_must_say_why(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text('[[waiver]]\nfile = "a"\ntext = "b"\nwhy = "no"\n')
    with pytest.raises(ValueError, match="says no reason"):
        waivers(tmp_path / "w.toml")
    assert isinstance(waivers(), list)


def test_a_module_without_records_fails() -> None:
    lines = ["module nsd_x;", "    always_comb a = b;", "endmodule"]
    modules, _ = judge({}, [], {"nsd_x.sv": lines})
    assert failures(modules, [], [], {"nsd_x.sv": lines}) == ["nsd_x.sv: nothing was recorded"]
    lines[1] = "    assign a = b;"  # Verilator records nothing of these
    assert failures(modules, [], [], {"nsd_x.sv": lines}) == []


def test_points_are_recorded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "POINTS", tmp_path)
    monkeypatch.setattr(points, "_seen", set())
    monkeypatch.setenv("NSDATA_COVERAGE", "1")
    points.hit("verdict", "CLEAR", 64)
    points.hit("verdict", "CLEAR", 64)
    points.hit("reset", "soft")
    assert points.found() == {("verdict", "CLEAR", "64"), ("reset", "soft")}
    assert len(next(tmp_path.iterdir()).read_text().splitlines()) == 2
    with pytest.raises(KeyError):
        points.hit("verdict", "MAYBE", 64)


EARLY = {
    "nsd_p_pkg.sv": [
        "    function automatic logic [7:0] column(input int i);",
        "        return 8'(i);",
        "    endfunction",
        "    function automatic logic step(input logic a);",
        "        return !a;",
        "    endfunction",
    ],
    "nsd_x.sv": [
        "    function automatic logic [7:0] masks();",
        "        masks = column(1);  // step(1) is only named here",
        "    endfunction",
        "    localparam logic [7:0] MASKS =",
        "        masks();",
        "    always_comb begin",
        "        q = step(d);",
        "    end",
    ],
}


def test_functions_of_constants_are_told_from_those_of_signals() -> None:
    assert elaboration_lines(EARLY) == {"nsd_p_pkg.sv": {1, 2, 3}, "nsd_x.sv": {1, 2, 3}}
    used = {**EARLY, "nsd_y.sv": ["    assign q = column(3);"]}
    assert elaboration_lines(used) == {"nsd_x.sv": {1, 2, 3}}


def test_a_function_nobody_calls_is_counted() -> None:
    assert elaboration_lines({"nsd_p_pkg.sv": EARLY["nsd_p_pkg.sv"][:3]}) == {}
