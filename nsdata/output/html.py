"""HTML by the element: every text is escaped by who writes the tree, none is put in as it is.

The standard library's ElementTree serialises; here are names for what a page needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from nsdata.output.console import safe

Node = ET.Element
Child = Node | str | int | float | None
LONGEST = 2000  # characters of one text from a rule, a capture's name, a record


def shown(value: object) -> str:
    """A text that came from outside: no character that steers, of bearable length."""
    text = "\n".join(safe(line) for line in str(value).split("\n"))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def tag(name: str, /, *children: Child, **attributes: Any) -> Node:
    """An element. Attributes that are None are left out; `_` in their names stands for `-`, one at
    the end for nothing (`class_`)."""
    node = ET.Element(
        name,
        {
            key.rstrip("_").replace("_", "-"): safe(str(value))
            for key, value in attributes.items()
            if value is not None
        },
    )
    for child in children:
        add(node, child)
    return node


def add(node: Node, child: Child) -> None:
    """Append an element or a text."""
    if child is None:
        return
    if isinstance(child, ET.Element):
        node.append(child)
        return
    text = shown(child)
    if len(node):
        node[-1].tail = (node[-1].tail or "") + text
    else:
        node.text = (node.text or "") + text


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[Child]],
    *,
    numbers: Sequence[int] = (),
    **attributes: Any,
) -> Node:
    """A table; the columns `numbers` are set to the right."""
    made = tag("table", tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head))))
    for key, value in attributes.items():
        made.set(key.rstrip("_"), safe(str(value)))
    body = tag("tbody")
    for row in rows:
        cells = (
            tag("td", cell, class_="n" if at in numbers else None) for at, cell in enumerate(row)
        )
        body.append(tag("tr", *cells))
    made.append(body)
    return made


def document(title: str, style: str, *children: Node) -> str:
    """A whole page that needs nothing else, and that nothing in it can make fetch or run."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    sheet = ET.Element("style")
    sheet.text = style  # ours; not escaped in HTML
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        sheet,
    )
    page = tag("html", head, tag("body", *children), lang="en")
    return "<!DOCTYPE html>\n" + ET.tostring(page, encoding="unicode", method="html") + "\n"
