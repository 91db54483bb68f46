"""The figures of an appliance at one instant, as the supervisor puts them up for who reports them.

Counters count since the supervisor started, over all restarts of its processes: what those that
ended had counted is kept here. Times are nanoseconds of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nsdata.appliance import port, worker_figures, writer
from nsdata.appliance.processes import PORT, WRITER
from nsdata.fallback.decisions import Note
from nsdata.path.status import COUNTERS, StatusPage

if TYPE_CHECKING:
    from nsdata.appliance.processes import Process
    from nsdata.appliance.supervisor import Supervisor
