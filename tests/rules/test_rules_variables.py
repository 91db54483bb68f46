"""Address and port expressions against brute force."""

import ipaddress
import time
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nsdata.rules.variables import (
    ANY_PORT,
    ANY_V4,
    ANY_V6,
    ExpressionError,
    Intervals,
    Variables,
    normalise,
    subtract,
)

V = Variables()


def v4(text: str) -> int:
    return int(ipaddress.IPv4Address(text))


def test_any_is_both_families() -> None:
    assert (V.addresses("any").v4, V.addresses("ANY").v6) == (ANY_V4, ANY_V6)
    assert V.addresses("any").is_any
    assert V.ports("any") == ANY_PORT


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("10.1.2.3", "10.1.2.3", "10.1.2.3"),
        ("10.1.2.3/8", "10.0.0.0", "10.255.255.255"),
        ("10.0.0.0/255.255.0.0", "10.0.0.0", "10.0.255.255"),
        ("10.0.0.1-10.0.0.9", "10.0.0.1", "10.0.0.9"),
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
    ],
)
def test_ipv4_literals(text: str, low: str, high: str) -> None:
    found = V.addresses(text)
    assert found.v4 == ((v4(low), v4(high)),)
    assert found.v6 == ()


def test_ipv6_literals() -> None:
    network = ipaddress.IPv6Network("2001:db8::/32")
    want = ((int(network[0]), int(network[-1])),)
    assert V.addresses("2001:db8::/32").v6 == want
    assert V.addresses("2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff").v6 == want
    assert V.addresses("::1").v6 == ((1, 1),)
    assert V.addresses("::1").v4 == ()


def test_a_negation_takes_from_its_own_family() -> None:
    found = V.addresses("!10.0.0.0/8")
    assert found.v4 == ((0, v4("9.255.255.255")), (v4("11.0.0.0"), v4("255.255.255.255")))
    assert found.v6 == ()
    assert found.negated


def test_groups_nest() -> None:
    found = V.addresses("[10.0.0.0/8, ![10.1.0.0/16, !10.1.2.0/24]]")
    assert found.v4 == (
        (v4("10.0.0.0"), v4("10.0.255.255")),
        (v4("10.1.2.0"), v4("10.1.2.255")),
        (v4("10.2.0.0"), v4("10.255.255.255")),
    )


def test_variables_are_looked_up() -> None:
    variables = Variables({"A": "[1.1.1.1,$B]", "B": "!$C", "C": "[1.0.0.0/8,!1.2.0.0/16]"})
    assert variables.addresses("$HOME_NET") == V.addresses(
        "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]"
    )
    rest = variables.addresses("$B").v4
    assert rest[0] == (0, v4("0.255.255.255"))
    assert rest[1] == (v4("1.2.0.0"), v4("1.2.255.255"))
    assert variables.addresses("!$B").v4 == variables.addresses("$C").v4
    assert variables.ports("$FILE_DATA_PORTS") == ((80, 80), (110, 110), (143, 143))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("80", ((80, 80),)),
        ("[80,8000:9000,!8080]", ((80, 80), (8000, 8079), (8081, 9000))),
        ("1024:", ((1024, 65535),)),
        (":1023", ((0, 1023),)),
        ("!80", ((0, 79), (81, 65535))),
        ("![80,443]", ((0, 79), (81, 442), (444, 65535))),
        ("[80,81,82]", ((80, 82),)),
        ("!$HTTP_PORTS", ((0, 79), (81, 65535))),
    ],
)
def test_ports(text: str, want: Intervals) -> None:
    assert V.ports(text) == want


@pytest.mark.parametrize(
    "text",
    [
        "", "!any", "[]", "[1.1.1.1", "1.1.1.1]", "[1.1.1.1,]", "1.1.1", "1.1.1.256", "1.1.1.1/33",
        "1.1.1.1/x", "10.0.0.9-10.0.0.1", "fe80::1%eth0", "1.1.1.1/255.0.255.0", "$NONE", "$",
        "[10.0.0.0/8,!0.0.0.0/0]", "[10.1.1.1,!10.0.0.0/8]", "!!any,", "01.1.1.1", "::1/129", "!",
        "[" * 100 + "1.1.1.1" + "]" * 100, "1.1.1.1\x00",
    ],
)  # fmt: skip
def test_bad_addresses_are_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        V.addresses(text)


@pytest.mark.parametrize(
    "text", ["", "!any", "65536", "-1", "a", "90:80", "[80,!80]", "80:90:100", "$NONE", "²", "!0:"]
)
def test_bad_ports_are_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        V.ports(text)


def test_circles_are_found() -> None:
    variables = Variables({"A": "$B", "B": "[1.1.1.1,!$A]"})
    with pytest.raises(ExpressionError, match=r"\$A → \$B → \$A"):
        variables.addresses("$A")


def test_variables_that_multiply_are_stopped() -> None:
    names = {f"V{n}": f"[$V{n + 1},$V{n + 1},$V{n + 1}]" for n in range(13)}
    started = time.monotonic()
    with pytest.raises(ExpressionError, match="members"):
        Variables({**names, "V13": "1.1.1.1"}).addresses("$V0")
    assert time.monotonic() - started < 5


# --- against brute force ---------------------------------------------------------------

_small = st.integers(0, 15)
_intervals = st.lists(st.tuples(_small, _small).map(lambda p: (min(p), max(p))), max_size=6)


def members(intervals: Intervals) -> set[int]:
    return {value for low, high in intervals for value in range(low, high + 1)}


@given(_intervals, _intervals)
def test_interval_arithmetic(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    a, b = normalise(left), normalise(right)
    assert members(a) == members(tuple(left))
    for one in (a, subtract(a, b)):
        assert list(one) == sorted(one)
    assert all(low[1] + 1 < high[0] for low, high in pairwise(a))
    assert members(subtract(a, b)) == members(a) - members(b)


Tree = tuple[bool, "str | list[Tree]"]
_leaf = st.one_of(
    st.builds(lambda host, bits: f"10.0.0.{host}/{bits}", st.integers(0, 255), st.integers(24, 32)),
    st.builds(lambda a, b: f"10.0.0.{min(a, b)}-10.0.0.{max(a, b)}", st.integers(0, 255),
              st.integers(0, 255)),
)  # fmt: skip
_tree = st.recursive(
    st.tuples(st.booleans(), _leaf),
    lambda children: st.tuples(st.booleans(), st.lists(children, min_size=1, max_size=4)),
    max_leaves=8,
)


def written(tree: Tree) -> str:
    negated, body = tree
    text = body if isinstance(body, str) else "[" + ",".join(map(written, body)) + "]"
    return ("!" if negated else "") + text


def leaf_members(text: str) -> set[int]:
    if "-" in text:
        low, high = (int(ipaddress.IPv4Address(one)) for one in text.split("-"))
        return set(range(low, high + 1))
    return {int(one) for one in ipaddress.IPv4Network(text, strict=False)}


WORLD = {int(one) for one in ipaddress.IPv4Network("10.0.0.0/24")}


def brute(tree: Tree) -> set[int]:
    """The members inside WORLD, worked out with sets alone."""
    listed: set[int] = set()
    taken: set[int] = set()
    any_listed = False

    def walk(one: Tree) -> None:
        nonlocal listed, taken, any_listed
        negated, body = one
        if negated:
            taken |= leaf_members(body) if isinstance(body, str) else brute((False, body))
        elif isinstance(body, str):
            any_listed = True
            listed |= leaf_members(body)
        else:
            for child in body:
                walk(child)

    walk(tree)
    result = (listed if any_listed else set(WORLD)) - taken
    assume(result)  # an expression (or a negated part) that leaves nothing is refused
    return result & WORLD


@given(_tree)
def test_address_expressions_against_sets(tree: Tree) -> None:
    want = brute(tree)
    found = V.addresses(written(tree))
    inside = {
        value
        for low, high in found.v4
        for value in range(max(low, min(WORLD)), min(high, max(WORLD)) + 1)
    }
    assert inside == want
    assert found.v6 == ()


@given(st.text(alphabet="[]!,$:-./0123456789aANYy \x00é", max_size=40))
def test_any_text_is_a_set_or_refused(text: str) -> None:
    for evaluate in (V.addresses, V.ports):
        with suppress(ExpressionError):
            evaluate(text)
