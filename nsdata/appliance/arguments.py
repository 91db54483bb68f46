"""The members of a command, checked: nothing of another type gets further than here.

A member that is absent, or null where null stands for that, has its default. Everything raises
EngineError, which is the answer.
"""

from __future__ import annotations

from pathlib import Path

from nsdata.appliance.channel import Message
from nsdata.errors import EngineError

TEXT_MOST = 4096  # characters
LIST_MOST = 1024  # texts
LARGEST = 1e15  # of a number that is not whole


def text(message: Message, key: str, default: str = "") -> str:
    """A text that can be written as UTF-8."""
    found = message.get(key)
    if found is None:
        return default
    return _text(key, found)


def texts(message: Message, key: str) -> list[str] | None:
    """A list of texts, or None."""
    found = message.get(key)
    if found is None:
        return None
    if not isinstance(found, list) or len(found) > LIST_MOST:
        raise EngineError(f"{key} is a list of at most {LIST_MOST} texts, not {_shown(found)}")
    return [_text(key, one) for one in found]


def number(message: Message, key: str, default: int, most: int, least: int = 0) -> int:
    """A whole number in this range; null is none."""
    found = message.get(key, default)
    if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
        raise EngineError(f"{key} is a whole number from {least} to {most}, not {_shown(found)}")
    return found


def real(message: Message, key: str) -> float | None:
    """A finite number, or None."""
    found = message.get(key)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < LARGEST:
        raise EngineError(f"{key} is a number, not {_shown(found)}")
    return float(found)


def flag(message: Message, key: str) -> bool:
    """True or false; false when it is absent."""
    found = message.get(key)
    if found is None:
        return False
    if not isinstance(found, bool):
        raise EngineError(f"{key} is true or false, not {_shown(found)}")
    return found


def path(message: Message, key: str) -> Path | None:
    """The path of a file, or None."""
    found = text(message, key)
    if "\0" in found:
        raise EngineError(f"{key} is a path: it has no NUL")
    return Path(found) if found else None


def _text(key: str, found: object) -> str:
    if not isinstance(found, str) or len(found) > TEXT_MOST:
        raise EngineError(
            f"{key} is a text of at most {TEXT_MOST} characters, not {_shown(found)}"
        )
    try:
        found.encode()
    except UnicodeEncodeError:
        raise EngineError(f"{key} is not Unicode text: {_shown(found)}") from None
    return found


def _shown(value: object) -> str:
    """What somebody sent, short and in ASCII."""
    if isinstance(value, str):
        return ascii(value[:60])
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'table'} of {len(value)}"
    shown = "a very large number" if isinstance(value, int) and abs(value) >= 1 << 64 else None
    return shown or repr(value)
