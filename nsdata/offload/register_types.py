"""What a register of the FPGA block is; the registers themselves are in `registers`, generated."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Access = Literal["r", "w", "rw", "w1c"]
WORD_BITS = 32


@dataclass(frozen=True, slots=True)
class Field:
    """Bits `low` … `low + width - 1` of a register.

    `access`: read, write, both, or write 1 to clear. `reset` is None where hardware drives the
    value. `strobe`: a written 1 acts once and is not kept. `encoding` names the values.
    """

    name: str
    low: int
    width: int
    access: Access
    reset: int | None = None
    strobe: bool = False
    encoding: type[IntEnum] | None = None

    @property
    def mask(self) -> int:
        """The field's bits within the word, all ones."""
        return ((1 << self.width) - 1) << self.low

    def encode(self, value: int) -> int:
        """`value` in its place in a word; ValueError when it does not fit."""
        if not 0 <= value < 1 << self.width:
            raise ValueError(f"{self.name} has {self.width} bits; {value} does not fit")
        return int(value) << self.low

    def decode(self, word: int) -> int:
        """The field's value in `word`: a member of `encoding` where there is one that fits."""
        value = (word & self.mask) >> self.low
        if self.encoding is not None and value in self.encoding.__members__.values():
            return self.encoding(value)
        return value


@dataclass(frozen=True, slots=True)
class Register:
    """One 32-bit word at byte `address` of the block."""

    name: str
    address: int
    fields: tuple[Field, ...]

    def __getitem__(self, name: str) -> Field:
        """The field called `name`; KeyError when there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.name} has no field {name}")

    @property
    def readable(self) -> bool:
        """Whether a read is answered; otherwise it ends in SLVERR."""
        return any(field.access != "w" for field in self.fields)

    @property
    def writable(self) -> bool:
        """Whether a write is taken; otherwise it ends in SLVERR."""
        return any(field.access != "r" for field in self.fields)

    @property
    def reset(self) -> int:
        """The word after reset, as far as the map knows it (fields of the hardware are 0)."""
        return sum(field.encode(field.reset or 0) for field in self.fields)

    def encode(self, **values: int) -> int:
        """A word with these fields, the others 0; KeyError, ValueError as for the fields."""
        word = 0
        for name, value in values.items():
            word |= self[name].encode(value)
        return word

    def update(self, word: int, **values: int) -> int:
        """`word` with these fields replaced; KeyError, ValueError as for the fields."""
        for name, value in values.items():
            field = self[name]
            word = word & ~field.mask | field.encode(value)
        return word

    def decode(self, word: int) -> dict[str, int]:
        """Every field's value in `word`, by name."""
        return {field.name: field.decode(word) for field in self.fields}


def array(
    name: str, address: int, count: int, stride: int, fields: tuple[Field, ...]
) -> tuple[Register, ...]:
    """`count` registers of one layout, `stride` bytes apart; `[]` in `name` takes the index."""
    return tuple(
        Register(name.replace("[]", f"[{i}]"), address + i * stride, fields) for i in range(count)
    )
