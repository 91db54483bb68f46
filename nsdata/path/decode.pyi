"""Types of the compiled module; the C interface is in decode.pxd."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

NAMES: dict[int, str]
FLAGS: dict[str, int]
TUNNELS: tuple[str, ...]

def set_tunnel_ports(
    *,
    vxlan: Sequence[int] = (4789,),
    geneve: Sequence[int] = (6081,),
    teredo: Sequence[int] = (3544,),
) -> None: ...
def decode_bytes(
    data: bytes, linktype: int = 1, checksums: bool = True
) -> list[dict[str, Any]]: ...
def decode_batch(
    data: npt.NDArray[np.uint8],
    offset: npt.NDArray[np.uint64],
    caplen: npt.NDArray[np.uint32],
    wirelen: npt.NDArray[np.uint32],
    linktype: npt.NDArray[np.uint16],
    checksums: bool = False,
) -> tuple[int, int, int]: ...
