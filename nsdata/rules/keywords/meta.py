"""Keywords about the rule itself: what it is called, how grave it is, where to read on."""

from __future__ import annotations

import operator
import re

from nsdata.rules.builder import Builder
from nsdata.rules.classification import CLASSIFICATION
from nsdata.rules.ir import Refused, Skipped
from nsdata.rules.numbers import integer
from nsdata.rules.registry import Quotes, Value, keyword

FAMILY = "meta"
# The version of the rule language `requires` is compared with.
LANGUAGE_VERSION = (8, 0, 2)
U32 = (1 << 32) - 1
_ESCAPED = re.compile(r"\\([;:\"\\])")
_COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_VERSION = re.compile(r"(>=|<=|>|<)\s*(\d+)(?:\.(\d+))?(?:\.(\d+))?\s*")


@keyword("msg", family=FAMILY, quotes=Quotes.MANDATORY)
def msg(b: Builder, value: str) -> None:
    """Text of the alert."""
    b.once("msg")
    text = _ESCAPED.sub(r"\1", value)
    b.rule.msg = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@keyword("sid", family=FAMILY, quotes=Quotes.OPTIONAL)
def sid(b: Builder, value: str) -> None:
    """Signature number, 1 to 2³² − 1; every rule needs one."""
    b.once("sid")
    b.rule.sid = integer(value, 1, U32)


@keyword("rev", family=FAMILY, quotes=Quotes.OPTIONAL)
def rev(b: Builder, value: str) -> None:
    """Revision; of two rules with one gid and sid the newer one counts."""
    b.once("rev")
    b.rule.rev = integer(value, 0, U32)


@keyword("gid", family=FAMILY, quotes=Quotes.OPTIONAL)
def gid(b: Builder, value: str) -> None:
    """Generator number, 1 when not given."""
    b.once("gid")
    b.rule.gid = integer(value, 0, U32)


@keyword("priority", family=FAMILY, quotes=Quotes.OPTIONAL)
def priority(b: Builder, value: str) -> None:
    """1 (highest) to 255; overrides the classtype's."""
    b.once("priority")
    b.rule.priority = integer(value, 1, 255)
    b.priority_set = True


@keyword("classtype", family=FAMILY, quotes=Quotes.OPTIONAL)
def classtype(b: Builder, value: str) -> None:
    """Short name of a class (nsdata/rules/classification.py): category and priority. An
    unknown class gets priority 3 and no category."""
    name = value.strip()
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_-]*", name):
        raise Refused(f"{name[:40]!r} is no class name")
    category, grade = CLASSIFICATION.get(name.lower(), ("", 3))
    # Given twice, the graver one counts.
    if b.rule.classtype and not b.priority_set and grade > b.rule.priority:
        return
    b.rule.classtype, b.rule.category = name, category
    if not category:
        b.rule.notes.append(f"classtype {name} is unknown: priority 3, no category")
    if not b.priority_set:
        b.rule.priority = grade


@keyword("reference", family=FAMILY)
def reference(b: Builder, value: str) -> None:
    """`type,where to read on`."""
    kind, comma, where = value.partition(",")
    if not comma or not kind.strip() or not where.strip():
        raise Refused("write it as type,value — for instance url,example.org/advisory")
    b.rule.references.append((kind.strip(), _ESCAPED.sub(r"\1", where.strip())))


@keyword("metadata", family=FAMILY, quotes=Quotes.OPTIONAL)
def metadata(b: Builder, value: str) -> None:
    """`key value, key value`; shown, not acted on."""
    for pair in value.split(","):
        key, _, text = pair.strip().partition(" ")
        if key:
            b.rule.metadata.setdefault(key, []).append(text.strip())


@keyword("target", family=FAMILY)
def target(b: Builder, value: str) -> None:
    """`src_ip` or `dest_ip`: which side is the victim."""
    b.once("target")
    if value not in ("src_ip", "dest_ip"):
        raise Refused("it is src_ip or dest_ip")
    b.rule.target = value


@keyword("requires", family=FAMILY)
def requires(b: Builder, value: str) -> None:
    """`version >= 7.0.3 < 8 | >= 8.0.1`, `feature NAME`, `keyword NAME`: a rule that asks
    for more than there is, is skipped, not refused. The version of the rule language is
    8.0."""


def check_requires(value: str, known: frozenset[str]) -> None:
    """Raise Skipped when this engine lacks what `value` asks for, Refused when it is
    malformed. `known` are the names of supported keywords."""
    versions = False
    for part in value.split(","):
        word, _, rest = part.strip().partition(" ")
        rest = rest.strip()
        if word == "version":
            if versions:
                raise Refused("version is given twice", "requires")
            versions = True
            if not any(_version_fits(choice) for choice in rest.split("|")):
                language = ".".join(map(str, LANGUAGE_VERSION))
                raise Skipped(f"requires version {rest}; this is {language}")
        elif word == "feature":
            if not rest:
                raise Refused("feature without a name", "requires")
            raise Skipped(f"requires the feature {rest}")
        elif word == "keyword":
            if rest not in known:
                raise Skipped(f"requires the keyword {rest}")
        elif word:
            raise Skipped(f"requires {word}, which is unknown")
        else:
            raise Refused("an empty requirement", "requires")


def _version_fits(text: str) -> bool:
    rest = text.strip()
    if not rest:
        raise Refused("a version without a number", "requires")
    fits = True
    while rest:
        match = _VERSION.match(rest)
        if not match:
            raise Refused(f"{rest[:40]!r} is no version. Write >= 7.0.3 < 8", "requires")
        wanted = (int(match[2]), int(match[3] or 0), int(match[4] or 0))
        fits = fits and _COMPARE[match[1]](LANGUAGE_VERSION, wanted)
        rest = rest[match.end() :]
    return fits


@keyword("noalert", family=FAMILY, value=Value.NONE)
def noalert(b: Builder, value: str) -> None:
    """The rule acts (drop, flowbits, …) without an alert."""
    if "alert" in b.seen:
        raise Refused("alert and noalert exclude each other")
    b.seen.add("noalert")


@keyword("alert", family=FAMILY, value=Value.NONE)
def alert(b: Builder, value: str) -> None:
    """A pass rule that alerts as well."""
    if "noalert" in b.seen:
        raise Refused("alert and noalert exclude each other")
    b.seen.add("alert")
