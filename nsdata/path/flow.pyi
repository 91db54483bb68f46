from collections.abc import Iterable, Mapping
from typing import Any

DEFAULT_TIMEOUTS: dict[str, dict[str, float]]
STATES: tuple[str, ...]
ENDS: tuple[str, ...]

class FlowTable:
    """Bidirectional flows; see the module for the key, the time-outs and the ids."""
    def __init__(
        self,
        *,
        max_flows: int = 262144,
        seed: int = 0,
        timeouts: Mapping[str, Mapping[str, float] | float] | None = None,
        use_vlan: bool = True,
    ) -> None: ...
    def stats(self) -> dict[str, int]: ...

def run(
    packets: Iterable[Mapping[str, Any]],
    table: FlowTable | None = None,
    *,
    evict: bool = True,
    finish: bool = True,
) -> list[dict[str, Any]]: ...
