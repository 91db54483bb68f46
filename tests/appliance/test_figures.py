"""One ledger over all ports there were; nothing is counted twice, nothing forgotten."""

import numpy as np
import pytest

from nsdata.appliance import worker
from nsdata.appliance.figures import Figures
from nsdata.appliance.memory import new_page
from nsdata.appliance.port import EXPOSED, FIGURES
from nsdata.appliance.worker import RULES_TOLD
from nsdata.errors import LedgerError
from nsdata.fallback.ledger import Why
from nsdata.path.status import StatusPage


def a_page(received: int, held: int, **by_why: int) -> StatusPage:
    """A port's page: frames of 100 bytes."""
    _, page = new_page("port")
    words = np.zeros(len(FIGURES) + 2 * len(Why), np.uint64)
    named = {"received_packets": received, "received_bytes": 100 * received,
             "held_packets": held, "held_bytes": 100 * held}  # fmt: skip
    for name, value in named.items():
        words[FIGURES.index(name)] = value
    for name, packets in by_why.items():
        words[len(FIGURES) + Why[name]] = packets
        words[len(FIGURES) + len(Why) + Why[name]] = 100 * packets
    page.publish(words)
    return page


def test_a_port_that_ended_lost_what_it_held() -> None:
    figures = Figures()
    page = a_page(10, 3, INSPECTED=8, FALLBACK=2)
    assert figures.ledger(page).received.packets == 10
    assert figures.port["held_packets"] == 3
    assert figures.port_gone(page) == {"lost_packets": 3, "lost_bytes": 300}
    ledger = figures.ledger(None)
    assert ledger.received == (13, 1300) and ledger.why(Why.PORT) == (3, 300)
    both = figures.ledger(a_page(5, 0, INSPECTED=5))
    assert both.received.packets == 18 and both.inspected.packets == 13


def test_a_port_that_never_said_anything() -> None:
    _, page = new_page("port")
    figures = Figures()
    assert figures.ledger(page).received.packets == 0
    assert figures.port_gone(page) == {}


def test_what_does_not_balance_is_told_and_deciders_get_the_last_that_did() -> None:
    figures = Figures()
    figures.ledger(a_page(10, 0, INSPECTED=10))
    wrong = a_page(12, 0, INSPECTED=11)
    with pytest.raises(LedgerError, match=r"\+1"):
        figures.ledger(wrong)
    assert figures.moment(5, wrong).ledger.received.packets == 10
    with pytest.raises(LedgerError, match="backwards"):
        figures.ledger(a_page(9, 0, INSPECTED=9))


def test_drops_are_summed_over_workers_and_their_starts() -> None:
    figures = Figures()
    figures.dropped("worker-0", {"7": 3, "8": 1})
    figures.dropped("worker-1", {"7": 2})
    assert figures.moment(1, None).drops_by_rule == {7: 5, 8: 1}
    figures.worker_gone("worker-0", new_page("worker-0")[1])
    assert figures.moment(1, None).drops_by_rule == {7: 5, 8: 1}
    figures.dropped("worker-0", {"8": 1})  # its next start counts anew
    assert figures.moment(1, None).drops_by_rule == {7: 5, 8: 2}


def test_rules_of_workers_that_ended_are_bounded() -> None:
    figures = Figures()
    for start in range(3):
        sids = range(start * RULES_TOLD, (start + 1) * RULES_TOLD)
        figures.dropped("worker-0", {str(sid): sid + 1 for sid in sids})
        figures.worker_gone("worker-0", new_page("worker-0")[1])
    drops = figures.moment(1, None).drops_by_rule
    assert len(drops) == RULES_TOLD and min(drops) == 2 * RULES_TOLD


def exposing(*rows: tuple[int, ...]) -> StatusPage:
    """A port's page with these figures of segments."""
    _, page = new_page("port")
    words = np.zeros(len(FIGURES) + 2 * len(Why), np.uint64)
    page.publish(np.concatenate([words, np.ravel(rows).astype(np.uint64)]))
    return page


def test_what_segments_had_goes_on_over_ports() -> None:
    figures = Figures(["guests", "default"])
    figures.ledger(exposing((1, 100, 2, 200), (3, 300, 0, 0)))
    assert figures.measures().permitted_bytes == {"guests": 100, "default": 300}
    figures.port_gone(exposing((2, 150, 2, 200), (3, 300, 0, 0)))
    assert figures.exposed()["guests"] == dict(zip(EXPOSED, (2, 150, 2, 200), strict=True))
    figures.ledger(exposing((1, 50, 0, 0), (0, 0, 1, 9)))
    assert figures.exposed()["guests"] == dict(zip(EXPOSED, (3, 200, 2, 200), strict=True))
    assert figures.measures().permitted_bytes == {"guests": 200, "default": 300}


def a_worker(suppressed: int, verified: int) -> StatusPage:
    _, page = new_page("worker-0")
    words = np.zeros(len(worker.FIGURES), np.uint64)
    named = {"suppressed_alerts": suppressed, "verified_packets": verified,
             "verified_bytes": 100 * verified}  # fmt: skip
    for name, value in named.items():
        words[worker.FIGURES.index(name)] = value
    page.publish(words)
    return page


def test_what_workers_counted_goes_on_over_workers() -> None:
    figures = Figures()
    figures.worker("worker-0", a_worker(5, 10))
    figures.worker("worker-1", a_worker(1, 2))
    assert figures.measures().suppressed == 6 and figures.measures().verified == (12, 1200)
    figures.worker_gone("worker-0", a_worker(7, 11))  # its last word
    assert figures.measures().suppressed == 8 and figures.measures().verified == (13, 1300)
    figures.worker_gone("worker-1", new_page("worker-1")[1])  # one that never said anything
    figures.worker("worker-0", a_worker(1, 1))
    for mad in ("worker-0", "worker-1"):  # nothing runs back, nothing overflows
        figures.worker(mad, a_worker(0, 2**57))
    assert figures.measures().suppressed == 9 and figures.measures().verified.bytes > 2**64
    figures = Figures()
    figures.worker("worker-0", a_worker(9, 14))
    assert figures.measures().suppressed == 9 and figures.measures().verified == (14, 1400)


def test_costs_are_summed_over_workers_until_other_rules_come() -> None:
    figures = Figures()
    figures.spent({"7": [3, 1, 500, 2]})
    figures.spent({"7": [1, 0, 100, 1], "8": [1, 1, 1, 1]})
    assert figures.measures().costs == {7: (4, 1, 600, 3), 8: (1, 1, 1, 1)}
    figures.reloaded()
    assert figures.measures().costs == {}
