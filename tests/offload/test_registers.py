"""The register map: what is generated from hdl/regs/nsd.rdl is what is committed, and agrees."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nsdata.offload import registers
from nsdata.offload.register_types import Field, Register, array

ROOT = Path(__file__).parents[2]
HEADER = ROOT / "hdl" / "regs" / "nsd_regs.h"


@pytest.fixture(scope="module")
def make_regs() -> ModuleType:
    tools = str(ROOT / "tools")
    sys.path.insert(0, tools)
    try:
        spec = importlib.util.spec_from_file_location("make_regs", ROOT / "tools/make_regs.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(tools)
    return module


def test_what_is_committed_is_what_the_source_says(make_regs: ModuleType, tmp_path: Path) -> None:
    make_regs.generate(tmp_path)
    for place in make_regs.GENERATED:
        assert (tmp_path / place).read_bytes() == (ROOT / place).read_bytes(), (
            f"{place} is not what hdl/regs/nsd.rdl gives; run: make regs"
        )
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == set(make_regs.GENERATED)


def test_what_is_written_is_said(
    make_regs: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_regs.GENERATED[-1]
    for other in make_regs.GENERATED[:-1]:
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).write_bytes((ROOT / other).read_bytes())
    make_regs.update(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["written", place] and (tmp_path / place).is_file()
    assert [line.split()[0] for line in lines[:-1]] == ["unchanged"] * (len(lines) - 1)


def without_index(register: Register) -> str:
    return re.sub(r"\[\d+\]", "", register.name)


def header_addresses(text: str) -> dict[str, int]:
    """Byte address of every register, from the struct of the C header, holes included."""
    structs: dict[str, list[tuple[str, str, int]]] = {}
    for body, name in re.findall(
        r"typedef struct __attribute__ \(\(__packed__\)\) \{(.*?)\} (\w+);", text, re.S
    ):
        members = re.findall(r"^\s*(\w+) (\w+)(?:\[(\w+)\])?;", body, re.M)
        structs[name] = [(kind, member, int(count or "1", 0)) for kind, member, count in members]
    sizes = {"uint8_t": 1, "uint16_t": 2, "uint32_t": 4}

    def size(kind: str) -> int:
        return sizes[kind] if kind in sizes else sum(size(k) * n for k, _, n in structs[kind])

    found: dict[str, int] = {}

    def walk(kind: str, prefix: str, at: int) -> None:
        for inner, member, count in structs[kind]:
            for i in range(count):
                name = f"{prefix}{member}" + (f"[{i}]" if count > 1 else "")
                if inner in structs:
                    walk(inner, name + ".", at)
                elif not member.startswith("RESERVED"):
                    found[name] = at
                at += size(inner)

    walk("nsd_regs_t", "", 0)
    return found


def test_python_and_c_agree_on_addresses_and_fields() -> None:
    text = HEADER.read_text()
    assert header_addresses(text) == {r.name: r.address for r in registers.REGISTERS.values()}
    masks = {
        re.sub(r"X(__STRIDE\d+)?__", "__", name): int(mask, 16)  # an array of register files
        for name, mask in re.findall(r"#define NSD_REGS__(\w+)_bm (0x[0-9a-f]+)", text)
    }
    assert masks == {
        f"{without_index(register)}__{field.name}".replace(".", "__").upper(): field.mask
        for register in registers.REGISTERS.values()
        for field in register.fields
    }


def test_python_and_the_decoder_in_hardware_agree() -> None:
    text = (ROOT / "hdl" / "nsd_regs.sv").read_text()
    terms = re.findall(
        r"strb_next\.([\w.\[\]]+) = \(high_hot\[ad_hi\("
        r"12'h([0-9a-f]+)(?: \+ \(12\)'\(i0\) \* 12'h([0-9a-f]+))?\)\] & .*\)"
        r"( & !cpuif_req_is_wr)?( & cpuif_req_is_wr)?;",
        text,
    )
    firsts = {without_index(r): r for r in reversed(registers.REGISTERS.values())}
    assert len(terms) == len(firsts)
    for path, address, stride, reads_only, writes_only in terms:
        register = firsts[re.sub(r"\[\w+\]", "", path)]
        assert register.address == int(address, 16), path
        assert (register.readable, register.writable) == (not writes_only, not reads_only), path
        if stride:
            second = registers.REGISTERS[register.name.replace("[0]", "[1]")]
            assert second.address - register.address == int(stride, 16), path


def test_no_two_registers_and_no_two_fields_share_bits() -> None:
    found = [register.address for register in registers.REGISTERS.values()]
    assert len(set(found)) == len(found) and found
    assert all(0 <= address < registers.SIZE and address % 4 == 0 for address in found)
    for register in registers.REGISTERS.values():
        assert sum(f.mask for f in register.fields) < 1 << 32
        seen = 0
        for field in register.fields:
            assert not seen & field.mask, f"{register.name}.{field.name}"
            seen |= field.mask


def test_the_errors_of_the_package_have_their_bits() -> None:
    """The bit of each class is the same in nsd_pkg.sv, err_status, err_inject and ErrorClass."""
    package = (ROOT / "hdl" / "nsd_pkg.sv").read_text()
    bits = dict(re.findall(r"localparam int ERR_(\w+) = (\d+);", package))
    count = int(bits.pop("COUNT"))
    assert {name.lower(): int(bit) for name, bit in bits.items()} == {
        field.name: field.low for field in registers.ERR_STATUS.fields
    }
    assert [f.name for f in registers.ERR_INJECT.fields] == [
        f.name for f in registers.ERR_STATUS.fields
    ]
    assert {e.name: e.value for e in registers.ErrorClass} == {n: int(b) for n, b in bits.items()}
    assert len(registers.ERR_COUNT) == count
    fatal = re.search(r"ERR_FATAL = 12'b([01_]+);", package)
    assert fatal and int(fatal[1].replace("_", ""), 2) == registers.ERR_FATAL.reset


def test_the_identity_reads_as_text() -> None:
    assert registers.ID.reset.to_bytes(4, "little") == b"NSDT"


def test_words_are_put_together_and_taken_apart() -> None:
    word = registers.STATUS.encode(state=registers.State.FAULT, fault=1, rearm_reason=2)
    assert word == 3 | 1 << 4 | 2 << 17
    decoded = registers.STATUS.decode(word)
    assert decoded["state"] is registers.State.FAULT
    assert decoded["rearm_reason"] is registers.RearmReason.HOLD
    assert registers.STATUS.decode(7)["state"] == 7  # no such state: the number as it is
    assert registers.STATUS.update(word, state=0, armed=1) == 1 << 3 | 1 << 4 | 2 << 17
    assert registers.CTRL["rearm"].strobe and not registers.CTRL["enable"].strobe
    assert registers.ERR_STATUS["ecc_ue"].access == "w1c"


@pytest.mark.parametrize("value", [-1, 2])
def test_a_value_that_does_not_fit_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="enable has 1 bits"):
        registers.CTRL.encode(enable=value)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(KeyError, match="ctrl has no field enabled"):
        registers.CTRL.encode(enabled=1)


def test_arrays_are_laid_out_by_their_stride() -> None:
    fields = (Field("a", 0, 8, "rw", 3), Field("b", 8, 8, "w"))
    made = array("x[].y", 0x10, 3, 8, fields)
    assert [(r.name, r.address) for r in made] == [
        ("x[0].y", 0x10), ("x[1].y", 0x18), ("x[2].y", 0x20),
    ]  # fmt: skip
    assert made[0].readable and made[0].writable and made[0].reset == 3
    assert not Register("z", 0, fields[1:]).readable
