"""Which rules an image covers: what CLEAR says of which rule.

The engine leaves the search of CLEAR frames to the hardware for these rules alone, so this is
looked up in the tables themselves, not in what the compiler said of them: an image made for other
rules, or for an older set, only spares less. A rule is covered when no frame that it can match,
as a whole or in part, is ever CLEAR:

- its fast pattern is the one the engine marks candidates by, and without all of its bytes in the
  inspected bytes the rule cannot match (negated contents are never chosen);
- from four bytes on: a window of the pattern is in the table. It is found wherever the pattern
  stands, since the test at a window's place looks at no byte outside it;
- below: all frames of the rule's ports are SUSPECT.

Rules without a pattern, rules keyed by an event or by addresses alone are tried on every packet
whatever the hardware says; they count as not covered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nsdata.offload.entry import PortRange
from nsdata.offload.image import PrefilterImage
from nsdata.offload.patterns import SHORTEST, Span, ports_of, union
from nsdata.rules.ir import RuleIR

_TCP, _UDP, _ICMP = 1, 2, 4  # protocol bits of a span


def coverage(image: PrefilterImage, rules: Sequence[RuleIR]) -> NDArray[np.uint8]:
    """1 for every rule (in the order of Rule.number) that the image covers; uint8 [rules]."""
    prefilter = image.prefilter()
    result = np.zeros(len(rules), dtype=np.uint8)
    for number, rule in enumerate(rules):
        if rule.pattern is None:
            continue
        if len(rule.pattern.data) >= SHORTEST:
            result[number] = prefilter.hit(rule.pattern.data)
        else:
            result[number] = _in_ranges(ports_of(rule), image.ranges)
    return result


def _in_ranges(spans: Iterable[Span], ranges: Sequence[PortRange]) -> bool:
    """Whether every frame of these ports and protocols is in one of the ranges."""
    icmp = any(one.icmp for one in ranges)
    tcp = union((one.low, one.high) for one in ranges if one.tcp)
    udp = union((one.low, one.high) for one in ranges if one.udp)
    for bits, low, high in spans:
        if bits & _ICMP and not icmp:
            return False
        for bit, known in ((_TCP, tcp), (_UDP, udp)):
            if bits & bit and not any(a <= low and high <= b for a, b in known):
                return False
    return True
