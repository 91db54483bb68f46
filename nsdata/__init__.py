"""nsdata: inline packet inspection that knows what it drops and fails open.

The flow of a packet, by module:

    capture   a frame out of a pcap or pcapng file
    path      decode → bypass → flow → stream → detect → verdict, in C, without the GIL
    fallback  drop meter and controller: when to permit everything and inspect nothing
    output    EVE JSON, summary, console
    pipeline  the loop that joins them; replay is the host that feeds it captures

`replay(captures, rules, …)` runs whole captures; `Engine` runs buffers, with verdicts as
numpy arrays (see nsdata.path.engine).
"""

from nsdata.assembly import LoadedRules, build_engine
from nsdata.config import Settings
from nsdata.errors import (
    CaptureError,
    EngineError,
    LedgerError,
    NsdataError,
    OutputError,
    RuleError,
    SettingError,
)
from nsdata.inspection import Engine
from nsdata.pipeline import Pipeline, Switch, Verdict
from nsdata.replay.run import ReplayResult
from nsdata.replay.run import replay as replay  # the function; the package is nsdata.replay.*
from nsdata.rules.ruleset import load_rules

__version__ = "0.1.0"

__all__ = [
    "CaptureError",
    "Engine",
    "EngineError",
    "LedgerError",
    "LoadedRules",
    "NsdataError",
    "OutputError",
    "Pipeline",
    "ReplayResult",
    "RuleError",
    "SettingError",
    "Settings",
    "Switch",
    "Verdict",
    "build_engine",
    "load_rules",
    "replay",
]
