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

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nsdata.assembly import LoadedRules, build_engine
    from nsdata.config.settings import Settings
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
    from nsdata.pipeline import Pipeline, Switch
    from nsdata.replay.run import ReplayResult
    from nsdata.replay.run import replay as replay  # the function; the package is nsdata.replay.*
    from nsdata.rules.ruleset import load_rules
    from nsdata.verdict import Verdict

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

_HOMES = {
    "nsdata.assembly": ("LoadedRules", "build_engine"),
    "nsdata.config.settings": ("Settings",),
    "nsdata.errors": ("CaptureError", "EngineError", "LedgerError", "NsdataError", "OutputError",
                      "RuleError", "SettingError"),
    "nsdata.inspection": ("Engine",),
    "nsdata.pipeline": ("Pipeline", "Switch"),
    "nsdata.replay.run": ("ReplayResult", "replay"),
    "nsdata.rules.ruleset": ("load_rules",),
    "nsdata.verdict": ("Verdict",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


class _Nsdata(ModuleType):
    """Public names are imported when they are asked for: a process of an appliance needs few of
    them, and traffic is uninspected until it has started again."""

    def __getattr__(self, name: str) -> Any:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(home), name)
        if name != "replay":
            setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})

    @property
    def replay(self) -> Any:
        """The function; the package of that name is nsdata.replay.*"""
        return self.__getattr__("replay")

    @replay.setter
    def replay(self, package: ModuleType) -> None:
        """The import system's, when it has imported the package."""


sys.modules[__name__].__class__ = _Nsdata
