"""What is searched for a rule: never more than its pattern, so that no packet is missed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.rules.groups import searched


@given(st.one_of(st.binary(min_size=1, max_size=40), st.text("\0\x01", min_size=1).map(str.encode)))
def test_searched_is_a_part_of_the_pattern(pattern: bytes) -> None:
    part = searched(pattern)
    assert pattern.startswith(part)
    assert len(part) >= min(len(pattern), 3)


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        (b"\x16\xfe\xfd\0\0\0\0\0\0\0", b"\x16\xfe\xfd\0"),
        (b"\x01\0\0\0\0", b"\x01\0\0"),
        (b"GET /aaaa", b"GET /a"),
        (b"\x90" * 8, b"\x90" * 8),  # a sled is nothing but its run
        (b"User-Agent", b"User-Agent"),
        (b"\0", b"\0"),
    ],
)
def test_a_run_at_the_end_is_left_out(pattern: bytes, part: bytes) -> None:
    assert searched(pattern) == part
