"""The syntax: every option with its place; every fault named with its place."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nsdata.errors import RuleError
from nsdata.rules.parse import Option, parse_file, parse_rule, parse_text

RULE = 'alert tcp any any -> any 80 (msg:"a"; content:"x"; nocase; sid:1;)'


def test_a_rule_is_taken_apart() -> None:
    rule = parse_rule(RULE, "f.rules", 7)
    assert (rule.action, rule.protocol, rule.src, rule.sport) == ("alert", "tcp", "any", "any")
    assert (rule.direction, rule.dst, rule.dport) == ("->", "any", "80")
    assert [(o.keyword, o.value) for o in rule.options] == [
        ("msg", '"a"'),
        ("content", '"x"'),
        ("nocase", None),
        ("sid", "1"),
    ]
    assert rule.place(rule.options[1].offset) == (7, RULE.index("content") + 1)


def test_lists_in_the_header_may_hold_blanks() -> None:
    source = "[10.0.0.0/8, ![10.1.0.0/16, 10.2.0.0/16]]"
    rule = parse_rule(f"alert tcp {source} any <> ! [ 1.1.1.1 ] [80, 81] (sid:1;)")
    assert rule.src == source
    assert rule.dst == "! [ 1.1.1.1 ]"
    assert rule.dport == "[80, 81]"


def test_a_semicolon_ends_an_option_unless_escaped() -> None:
    rule = parse_rule(r'alert tcp any any -> any any (msg:"a\;b"; reference:url,x\;y; sid:1;)')
    assert [o.value for o in rule.options] == [r'"a\;b"', r"url,x\;y", "1"]


def test_values_may_hold_colons_and_parentheses() -> None:
    rule = parse_rule('alert tcp any any -> any any (msg:"a:(b)"; sid:1;)')
    assert rule.options[0].value == '"a:(b)"'


def test_continued_lines_keep_their_places() -> None:
    parsed = parse_text('\n# no\nalert tcp any any -> any any ( \\\n  msg:"a"; \\\r\n sid:1;)\n')
    (rule,) = parsed.rules
    assert parsed.comments == 1
    assert rule.line == 3
    assert [rule.place(o.offset) for o in rule.options] == [(4, 3), (5, 2)]


def test_comments_and_empty_lines_are_no_rules() -> None:
    parsed = parse_text("# alert tcp any any -> any any (sid:1;)\n\n  ; old\n\t\n" + RULE)
    assert (len(parsed.rules), parsed.comments, parsed.errors) == (1, 2, [])


def test_a_bad_rule_leaves_the_others() -> None:
    parsed = parse_text(f"{RULE}\nalert nonsense\n{RULE}\n", "x.rules")
    assert [rule.line for rule in parsed.rules] == [1, 3]
    (error,) = parsed.errors
    assert (error.path, error.line) == ("x.rules", 2)


@pytest.mark.parametrize(
    ("text", "says", "column"),
    [
        ("alert tcp any any -> any any", "no options", 1),
        ("alert tcp any any -> any (sid:1;)", "6 fields", 1),
        ("alert tcp any any -> any any any (sid:1;)", "8 fields", 1),
        ("log tcp any any -> any any (sid:1;)", "unknown action", 1),
        ("alert tcp any any <- any any (sid:1;)", "no direction", 19),
        ("alert tcp [any any -> any any (sid:1;)", "not closed", 11),
        ("alert tcp any any -> any any (sid:1;", "does not end with )", 36),
        ("alert tcp any any -> any any (sid:1)", "not ended by a ;", 31),
        ("alert tcp any any -> any any (sid:1;;)", "empty option", 37),
        ("alert tcp any any -> any any (:1;)", "without a keyword", 31),
        ("alert tcp any any -> any any (" + "a" * 70000 + ";)", "longer than", 1),
    ],
)
def test_faults_are_named_with_their_place(text: str, says: str, column: int) -> None:
    with pytest.raises(RuleError, match=re.escape(says)) as caught:
        parse_rule(text, "f", 4)
    assert (caught.value.line, caught.value.column) == (4, column)


def test_a_missing_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="cannot read"):
        parse_file(tmp_path / "none.rules")


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"\xd4\xc3\xb2\xa1\x02\0\x04\0", "looks like a capture"),
        (b"\x0a\x0d\x0d\x0a", "looks like a capture"),
        (b"\x1f\x8b\x08", "gzip -d"),
        (b"\xff\xfea\0l\0", "UTF-16"),
        (b"alert\0", "zero bytes"),
    ],
)
def test_a_file_of_something_else_is_one_error(tmp_path: Path, head: bytes, says: str) -> None:
    path = tmp_path / "odd.rules"
    path.write_bytes(head + b"x\n" * 3000)
    with pytest.raises(RuleError, match=rf"odd\.rules: .*{says}") as caught:
        parse_file(path)
    assert ":0" not in str(caught.value)


def test_bytes_that_are_no_utf8_survive(tmp_path: Path) -> None:
    path = tmp_path / "latin.rules"
    path.write_bytes(b'alert tcp any any -> any any (content:"\xe9\xff"; sid:1;)\n')
    (rule,) = parse_file(path).rules
    assert rule.options[0].value is not None
    assert rule.options[0].value.encode("utf-8", "surrogateescape") == b'"\xe9\xff"'


def test_a_byte_order_mark_is_no_part_of_the_first_rule(tmp_path: Path) -> None:
    path = tmp_path / "bom.rules"
    path.write_bytes(b"\xef\xbb\xbf" + RULE.encode())
    parsed = parse_file(path)
    assert (len(parsed.rules), parsed.errors) == (1, [])


_PIECES = st.sampled_from(
    ["alert", "tcp", " ", "any", "->", "(", ")", ";", ":", '"', "\\", "[", "]", "!", ",", "\n",
     "content", "sid", "1", "#", "$X", "<>", "|", "é"]
)  # fmt: skip


@given(st.one_of(st.text(max_size=200), st.lists(_PIECES, max_size=60).map("".join)))
@example("alert tcp any any -> any any (sid:1;)")
@example("\\")
def test_any_text_parses_or_is_refused(text: str) -> None:
    parsed = parse_text(text)
    for rule in parsed.rules:
        assert all(isinstance(option, Option) and option.keyword for option in rule.options)
        for option in rule.options:
            line, column = rule.place(option.offset)
            assert line >= rule.line and column >= 1
            assert rule.text[option.offset :].startswith(option.keyword)
