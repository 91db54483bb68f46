"""The keyword reference in docs/rules.md, made from the registry.

`python -m nsdata.rules.reference docs/rules.md` writes it anew between its marks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nsdata.rules import keywords  # noqa: F401 — importing it fills KEYWORDS
from nsdata.rules.build import PROTOCOLS
from nsdata.rules.registry import KEYWORDS

BEGIN = "<!-- keywords: written by nsdata.rules.reference -->"
END = "<!-- end of keywords -->"
_TITLES = {
    "meta": "The rule itself",
    "header": "Header fields",
    "payload": "Bytes",
    "bytes": "Numbers in the bytes",
    "flow": "Flows, and what rules remember",
    "action": "What a match leads to",
}


def keyword_tables() -> str:
    """Markdown: one table per family, aliases in one row."""
    lines = [f"Protocols: {', '.join(f'`{name}`' for name in PROTOCOLS)}.", ""]
    for family, title in _TITLES.items():
        lines += [f"### {title}", "", "| keyword | |", "| --- | --- |"]
        rows: dict[object, list[str]] = {}
        for name, known in KEYWORDS.items():
            if known.family == family:
                rows.setdefault(known.handler, []).append(name)
        for handler, names in rows.items():
            known = next(one for one in KEYWORDS.values() if one.handler is handler)
            shown = ", ".join(f"`{name}`" for name in names)
            text = known.help.replace("|", "\\|")
            lines.append(f"| {shown} | {text} |")
        lines.append("")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """`page` with the part between the marks replaced. Raises ValueError without marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{keyword_tables()}\n{END}{tail}"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.write_text(with_tables(target.read_text(encoding="utf-8")), encoding="utf-8")
