"""Rule files → RuleSet: what loaded, what was refused and why, ready to compile."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from nsdata.errors import RuleError
from nsdata.path.rulebase import RuleBase
from nsdata.rules.build import build_rule
from nsdata.rules.compile import Image, compile_rules
from nsdata.rules.ir import RuleIR, Skipped
from nsdata.rules.order import in_order
from nsdata.rules.parse import Parsed, RawRule, parse_file, parse_text
from nsdata.rules.variables import Variables


class _Vars(Protocol):
    @property
    def address_groups(self) -> Mapping[str, str]: ...
    @property
    def port_groups(self) -> Mapping[str, str]: ...


class RuleSettings(Protocol):
    """The settings rules depend on (nsdata.config.Settings has them)."""

    @property
    def vars(self) -> _Vars: ...
    @property
    def action_order(self) -> Sequence[str]: ...


@dataclass(slots=True)
class RuleSet:
    """`rules` in evaluation order; `refused` in file order, each naming file, line, column
    and keyword; `skipped` rules asked (`requires`) for another engine; `replaced` rules gave
    way to a newer revision."""

    rules: list[RuleIR] = field(default_factory=list)
    refused: list[RuleError] = field(default_factory=list)
    skipped: list[tuple[RawRule, str]] = field(default_factory=list)
    replaced: list[RuleIR] = field(default_factory=list)
    comments: int = 0
    paths: list[str] = field(default_factory=list)

    @property
    def refused_by_keyword(self) -> Counter[str]:
        """How many rules were refused on account of which keyword."""
        return Counter(error.keyword or "syntax" for error in self.refused)

    def compile(self) -> Image:
        """The arrays of the image (nsdata/rules/compile.py)."""
        return compile_rules(self.rules)

    def load(self) -> RuleBase:
        """The image, loaded: what detection runs. Raises ValueError, MemoryError."""
        return self.compile().load()


def load_rules(
    paths: Iterable[str | Path] | str | Path, settings: RuleSettings | None = None
) -> RuleSet:
    """Load rule files. A rule that is refused is in `RuleSet.refused`, the rest load.

    Raises RuleError when a file cannot be read.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    with _no_collection():
        return _load([(str(path), parse_file(path)) for path in paths], settings)


@contextmanager
def _no_collection() -> Iterator[None]:
    """A rule file makes objects by the hundred thousand and no garbage in circles: looking
    for it meanwhile takes a third of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def load_text(text: str, path: str = "<rules>", settings: RuleSettings | None = None) -> RuleSet:
    """Load rules from text."""
    return _load([(path, parse_text(text, path))], settings)


def _load(files: list[tuple[str, Parsed]], settings: RuleSettings | None) -> RuleSet:
    variables = Variables()
    if settings is not None:
        variables = Variables(settings.vars.address_groups, settings.vars.port_groups)
    result = RuleSet()
    found: dict[tuple[int, int], RuleIR] = {}
    for path, parsed in files:
        result.paths.append(path)
        result.comments += parsed.comments
        refused = list(parsed.errors)
        for raw in parsed.rules:
            try:
                rule = build_rule(raw, variables)
            except RuleError as error:
                refused.append(error)
                continue
            except Skipped as skipped:
                result.skipped.append((raw, str(skipped)))
                continue
            older = found.get((rule.gid, rule.sid))
            if older is not None:
                if rule.rev <= older.rev:
                    where = f"{older.raw.path}:{older.raw.line}"
                    reason = (
                        f"sid {rule.sid} is taken by {where} (rev {older.rev}). "
                        "Give the rule another sid, or a higher rev to replace that one"
                    )
                    refused.append(raw.error(reason, "sid"))
                    continue
                result.replaced.append(older)
                del found[(rule.gid, rule.sid)]
            found[(rule.gid, rule.sid)] = rule
        result.refused.extend(sorted(refused, key=lambda error: error.line))
    rules = list(found.values())
    result.rules = in_order(rules, settings.action_order) if settings else in_order(rules)
    return result
