"""Other rules and settings for a running appliance: all that was asked for, or nothing.

What decides and what rules are compiled with is taken over while packets flow. What engine, port
and sources are built with takes a restart; a reload that would change it is refused, naming it.
"""

from __future__ import annotations

from dataclasses import dataclass

from nsdata.appliance.settings import ApplianceSettings
from nsdata.config import settings_rows
from nsdata.errors import SettingError

LIVE = frozenset({"rules", "in_fallback", "settings"})  # of the file
LIVE_SETTINGS = (
    "drop-meter.", "exposure.", "health.", "restore.", "vars.", "watch.", "action-order",
    "protection.window", "protection.loss", "protection.minimum-packets", "protection.suppression",
    "protection.adaptive.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """What a reload brings: the file, and the keys whose value is another."""

    file: ApplianceSettings
    keys: tuple[str, ...]


def change(before: ApplianceSettings, file: ApplianceSettings) -> Change:
    """From one to the other. Raises SettingError for what takes a restart."""
    then, options = before.options, file.options
    keys = sorted(
        key for key in type(file).model_fields
        if key != "settings" and getattr(file, key) != getattr(before, key)
    )  # fmt: skip
    restart = [key for key in keys if key not in LIVE]
    old, new = ({key: text for key, text, _ in settings_rows(one)} for one in (then, options))
    others = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    restart += [key for key in others if not key.startswith(LIVE_SETTINGS)]
    if options.tunnel_ports() != then.tunnel_ports():  # the decoder knows them by number
        restart += [key for key in others if key.startswith("vars.port-groups.")]
    if restart:
        raise SettingError(
            f"{', '.join(restart)}: takes a restart (nsdata appliance stop, then run); nothing of "
            "this reload was taken over"
        )
    return Change(file, (*keys, *others))
