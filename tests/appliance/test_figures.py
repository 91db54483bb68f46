"""One ledger over all ports there were; nothing is counted twice, nothing forgotten."""

import numpy as np
import pytest

from nsdata.appliance.figures import Figures
from nsdata.appliance.memory import new_page
from nsdata.appliance.port import FIGURES
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


def test_drops_are_summed_over_workers() -> None:
    figures = Figures()
    figures.dropped("worker-0", {"7": 3, "8": 1})
    figures.dropped("worker-1", {"7": 2})
    assert figures.moment(1, None).drops_by_rule == {7: 5, 8: 1}
    figures.worker_gone("worker-0", new_page("worker-0")[1])
    assert figures.moment(1, None).drops_by_rule == {7: 2}
