"""nsd_ecc_enc and nsd_ecc_dec against a Python model of the Hsiao code."""

import itertools
import random

import cocotb
import pytest
from cocotb.triggers import Timer

from nsdata.offload.ecc import check_bits, columns
from sim.runner import simulate


def test_code_separates_one_error_from_two() -> None:
    """All single syndromes differ; no pair gives zero or a single's: distance 4."""
    singles = [*columns(120), *(1 << j for j in range(8))]
    assert len(set(singles)) == 128
    pairs = {a ^ b for a, b in itertools.combinations(singles, 2)}
    assert 0 not in pairs and not pairs & set(singles)


async def decode(dut, data: int, check: int) -> tuple[int, int, int, int]:
    dut.data.value = data
    dut.check.value = check
    await Timer(1, "ns")
    syndrome = int(dut.syndrome.value)
    # The second half has its own inputs: what stands at the first must not matter.
    dut.fix_data.value = data
    dut.fix_syndrome.value = syndrome
    dut.data.value = ~data & (1 << len(dut.data)) - 1
    await Timer(1, "ns")
    return syndrome, int(dut.fixed.value), int(dut.fix_ce.value), int(dut.fix_ue.value)


def words(width: int, rng: random.Random) -> list[int]:
    return [0, (1 << width) - 1, *(1 << i for i in range(width)),
            *(rng.getrandbits(width) for _ in range(20))]  # fmt: skip


@cocotb.test()
async def decoder_corrects_one_and_finds_two(dut):
    rng = random.Random(cocotb.RANDOM_SEED)
    width = len(dut.data)
    total = width + 8
    for word in words(width, rng):
        check = check_bits(word, width)
        assert await decode(dut, word, check) == (0, word, 0, 0)
        flips = rng.sample(range(total), min(total, 12))
        for i in flips:
            bad = (word | check << width) ^ 1 << i
            got = await decode(dut, bad & (1 << width) - 1, bad >> width)
            assert got[1:] == (word, 1, 0), (word, i)
        for i, j in itertools.combinations(flips, 2):
            bad = (word | check << width) ^ 1 << i ^ 1 << j
            data = bad & (1 << width) - 1
            got = await decode(dut, data, bad >> width)
            assert got[1:] == (data, 0, 1), (word, i, j)


@cocotb.test()
async def every_bit_and_every_syndrome(dut):
    """Each bit flipped once; each of the 256 syndromes judged as the code says."""
    width = len(dut.data)
    named = {c: 1 << i for i, c in enumerate(columns(width))}
    for syndrome in range(256):
        got = await decode(dut, 0, syndrome)
        single = syndrome in named or syndrome.bit_count() == 1
        assert got == (syndrome, named.get(syndrome, 0), int(single),
                       int(syndrome != 0 and not single))  # fmt: skip


@cocotb.test()
async def encoder_follows_the_model(dut):
    rng = random.Random(cocotb.RANDOM_SEED)
    width = len(dut.data)
    for word in words(width, rng):
        dut.data.value = word
        await Timer(1, "ns")
        assert int(dut.check.value) == check_bits(word, width)


@pytest.mark.parametrize("width", [1, 64, 75, 120])
def test_ecc_dec(width: int) -> None:
    """Decoder at the widths the block uses and at both ends."""
    cases = ["decoder_corrects_one_and_finds_two", "every_bit_and_every_syndrome"]
    simulate("nsd_ecc_dec", __name__, parameters={"W": width}, testcase=cases)


@pytest.mark.parametrize("width", [1, 64, 75, 120])
def test_ecc_enc(width: int) -> None:
    """Encoder at the same widths."""
    simulate("nsd_ecc_enc", __name__, parameters={"W": width}, testcase="encoder_follows_the_model")
