from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nsdata.path.prefilter import Prefilter
from nsdata.path.records import Records
from nsdata.path.rulebase import Remainder, RuleBase

class Engine:
    records: Records
    def __init__(
        self,
        base: RuleBase,
        numbers: int,
        *,
        inline: bool = False,
        checksums: bool = True,
        alert_max: int = 15,
        drop_log_start: bool = False,
        drop_invalid: bool = True,
        policies: Mapping[int, int] | None = None,
        hosts: Sequence[tuple[bytes, int, str]] | None = None,
        capacity_pps: float = 0,
        queue: int = 4096,
        bypass: npt.NDArray[np.void] | None = None,
        flow: Mapping[str, Any] | None = None,
        stream: Mapping[str, Any] | None = None,
        defrag: Mapping[str, Any] | None = None,
        records: Mapping[str, Any] | None = None,
        seed: int = 0,
        grace_s: float = 600,
    ) -> None: ...
    def process(
        self,
        data: npt.NDArray[np.uint8],
        offset: npt.NDArray[np.uint64],
        caplen: npt.NDArray[np.uint32],
        wirelen: npt.NDArray[np.uint32],
        ts_ns: npt.NDArray[np.uint64],
        linktype: npt.NDArray[np.uint16],
        verdict: npt.NDArray[np.uint8],
        start: int = 0,
        stop_ns: int = ...,
        stop_frame: int = 0,
        offload: npt.NDArray[np.uint8] | None = None,
    ) -> int: ...
    def set_offload(
        self,
        prefilter: Prefilter | None,
        remainder: Remainder | None = None,
        shunt: bool = True,
        shunt_dropped: bool = False,
    ) -> None: ...
    def shunts(self) -> tuple[npt.NDArray[np.void], bool]: ...
    @property
    def clock_ns(self) -> int: ...
    def clock_at(self, ts_ns: int) -> int: ...
    def drain(self) -> None: ...
    def swap_rules(self, base: RuleBase, numbers: int) -> None: ...
    def set_bypass(self, rules: npt.NDArray[np.void]) -> None: ...
    def set_fallback(self, on: bool) -> bool: ...
    def end_flows(self) -> bool: ...
    @property
    def in_fallback(self) -> bool: ...
    def counts(self) -> tuple[int, int, list[int], list[int]]: ...
    def rule_counts(self) -> dict[str, npt.NDArray[np.uint64]]: ...
    def rule_costs(self) -> dict[str, npt.NDArray[np.uint64]]: ...
    def switch_rule(self, number: int, on: bool) -> None: ...
    def suspend_alerts(self, on: bool) -> None: ...
    def protection_counts(self) -> tuple[int, int, int]: ...
    def drops(self) -> dict[int, int]: ...
    def bypass_counts(self) -> list[int]: ...
    def stats(self) -> dict[str, Any]: ...
