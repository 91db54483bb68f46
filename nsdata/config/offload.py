"""Settings of the FPGA offload."""

from __future__ import annotations

from typing import Literal

from nsdata.config.group import Group, of
from nsdata.config.values import DurationNs


class OffloadSettings(Group):
    """The FPGA offload; nothing of it acts without `--offload`."""

    check_share: float = of(
        0.01, "share of CLEAR, BYPASS and BLOCK frames that the software judges as well", ge=0, le=1
    )
    check_seed: int = of(1, "seed of the choice of these frames", ge=0)
    restore_frames: int = of(
        1000,
        "after a restore all such frames are judged; the share halves each time so many passed",
        ge=1,
    )
    on_failure: Literal["fallback", "software"] = of(
        "fallback", "when the FPGA fails: fall back, or go on without it"
    )
    heartbeat: DurationNs = of(
        "1s",
        "the FPGA permits everything when the host gave no sign of life for so long; up to 10s",
        gt=0,
        le=10_000_000_000,
    )
    shunt: bool = of(True, "give bypassed and passed flows to the FPGA's flow table")
    shunt_dropped: bool = of(
        False,
        "inline: dropped flows too; the FPGA drops their frames and no drop event is written",
    )
    leave_common: float = of(
        100.0,
        "percent: rules whose pattern is expected in more frames stay with the software, "
        "as with nsdata offload compile --leave-common",
        gt=0,
        le=100,
    )
