"""Which functions of the RTL run at elaboration alone: no simulation can reach them.

A function is such when everything that calls it is the value of a localparam or a parameter, or
another such function. What they compute is in the constants, which the proofs and tests judge.
"""

import re
from collections.abc import Mapping

FUNCTION = re.compile(r"\bfunction\s+automatic\b[^;(]*?\b(\w+)\s*\(")
CONSTANT = re.compile(r"\s*(?:#\s*\()?\s*(?:localparam|parameter)\b")


def _functions(lines: list[str]) -> dict[str, range]:
    """Line numbers of each function, from `function` to `endfunction`, both included."""
    found: dict[str, range] = {}
    name, start = "", 0
    for number, line in enumerate(lines, 1):
        match = FUNCTION.search(line)
        if match:
            name, start = match[1], number
        if name and "endfunction" in line:
            found[name] = range(start, number + 1)
            name = ""
    return found


def _statement(lines: list[str], number: int, column: int) -> str:
    """The text from the start of the statement to the place."""
    text = "\n".join([*lines[: number - 1], lines[number - 1][:column]])
    return re.split(r";|\bbegin\b(?:\s*:\s*\w+)?|\bend\w*\b|\belse\b", text)[-1]


def elaboration_lines(source: Mapping[str, list[str]]) -> dict[str, set[int]]:
    """The lines of functions that run at elaboration alone, by file; `source`: lines by file."""
    bare = {file: [line.split("//")[0] for line in lines] for file, lines in source.items()}
    functions = {
        (file, name): span
        for file, lines in bare.items()
        for name, span in _functions(lines).items()
    }
    callers: dict[tuple[str, str], list[tuple[str, str] | None]] = {}
    for file, name in functions:
        seen = callers.setdefault((file, name), [])
        for other, lines in bare.items():
            if other != file and (other, name) in functions:
                continue  # it has a function of its own by that name
            for number, line in enumerate(lines, 1):
                for match in re.finditer(rf"\b{name}\s*\(", line):
                    inside = next(
                        (
                            key
                            for key, span in functions.items()
                            if key[0] == other and number in span
                        ),
                        None,
                    )
                    if inside == (file, name):
                        continue
                    if inside is not None:
                        seen.append(inside)
                    elif not CONSTANT.match(_statement(lines, number, match.start())):
                        seen.append(None)
                    else:
                        seen.append((file, name))
    early = {key for key, by in callers.items() if by and None not in by}
    while True:
        left = {key for key in early if all(by == key or by in early for by in callers[key])}
        if left == early:
            break
        early = left
    lines: dict[str, set[int]] = {}
    for key in early:
        lines.setdefault(key[0], set()).update(functions[key])
    return lines
