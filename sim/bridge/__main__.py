"""Simulate nsd_top for one client: python -m sim.bridge SOCKET [--width W] [--waves] [NAME=N ...].

Builds if need be, listens at SOCKET, serves one client, ends with it. The bench can be another
one (--bench my.module): one that adds its own drivers, checks or faults around
sim.bridge.bench.serve.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from sim.runner import simulate

PUBLIC = ("clk", "rst", "s_ax*", "m_ax*", "seu_in", "over_temp_in", "irq", "heartbeat_out")


def main() -> int:
    """0 when the client ended the simulation, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m sim.bridge", description=__doc__)
    parser.add_argument("socket", type=Path)
    parser.add_argument("--width", type=int, choices=(64, 512), default=64)
    parser.add_argument("--waves", action="store_true", help="write the waves of the run")
    parser.add_argument("--bench", default="sim.bridge.bench", help="module of the cocotb test")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for a client")
    parser.add_argument(
        "--temporary", action="store_true",
        help="SOCKET's directory is removed in the end if who started this has not lived to do it",
    )  # fmt: skip
    parser.add_argument("parameters", nargs="*", help="of nsd_top: SETS_LOG2=4 ...")
    options = parser.parse_intermixed_args()
    parameters = {"DATA_W": options.width}
    for one in options.parameters:
        name, _, value = one.partition("=")
        parameters[name] = int(value, 0)
    os.environ.setdefault("NSDATA_SIM_TIMEOUT", str(24 * 3600))
    client = os.getppid()
    try:
        simulate(
            "nsd_top", options.bench, parameters=parameters, public=PUBLIC, waves=options.waves,
            extra_env={
                "NSDATA_BRIDGE": str(options.socket.absolute()),
                "NSDATA_BRIDGE_PATIENCE": str(options.patience),
                "NSDATA_BRIDGE_WAVES": "1" if options.waves else "",
            },
        )  # fmt: skip
    except BaseException as error:
        print(f"{error}", file=sys.stderr)
        return 1
    finally:
        if options.temporary and os.getppid() != client:
            shutil.rmtree(options.socket.absolute().parent, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
