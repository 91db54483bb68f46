"""Hardware in the loop, for tests: what the fixtures of the pytest plugin give.

The plugin itself is `pytest_nsdata`, beside this package, so that a run that does not use it
imports nothing of nsdata. docs/testing.md says how to use it; examples/hil is a project to copy.
"""

from nsdata.testing.capture import Capture
from nsdata.testing.engine import LoopEngine
from nsdata.testing.fpga import Fpga

__all__ = ["Capture", "Fpga", "LoopEngine"]
