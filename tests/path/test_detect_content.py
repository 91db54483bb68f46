"""detect: bytes of the payload — content and its modifiers, pcre, isdataat, numbers."""

import pytest
import traffic
from engines import fired
from hypothesis import given, settings
from hypothesis import strategies as st

GET = b"GET /index.html HTTP/1.1\r\nHost: example\r\n\r\n"


def hit(options: str, payload: bytes) -> bool:
    """Whether a UDP rule with these options matches a packet with this payload."""
    rule = f'alert udp any any -> any any (msg:"t"; {options} sid:1;)'
    return fired(rule, [traffic.udp(payload)])[1] == 1


CONTENT = [
    ('content:"GET";', GET, True),
    ('content:"get";', GET, False),
    ('content:"get"; nocase;', GET, True),
    ('content:"GET|20 2f|index";', GET, True),
    (r'content:"a\"b\;c\\d";', b'a"b;c\\d', True),
    ('content:"|00 ff|";', b"\0\xff", True),
    ('content:"|00 ff|";', b"\0\xfe", False),
    ('content:!"POST";', GET, True),
    ('content:!"GET";', GET, False),
    ('content:"GET"; content:!"example";', GET, False),
    ('content:"GET"; content:!"EXAMPLE"; nocase;', GET, False),
    # offset and depth count from the start
    ('content:"GET"; offset:0;', GET, True),
    ('content:"GET"; offset:1;', GET, False),
    ('content:"ET"; offset:1; depth:2;', GET, True),
    ('content:"ET "; offset:1; depth:2;', GET, None),     # longer than its depth: refused
    ('content:"ET"; depth:2;', GET, False),
    ('content:"ET"; depth:3;', GET, True),
    ('content:"T"; offset:2; depth:1;', GET, True),
    ('content:"b"; offset:3;', b"abc", False),
    ('content:!"GET"; offset:1;', GET, True),
    ('content:!"GET"; depth:3;', GET, False),
    ('content:!"HTTP"; depth:10;', GET, True),
    ('content:!"x"; offset:99;', b"x", True),
    # distance and within count from the end of the match before
    ('content:"GET"; content:"/index"; distance:1;', GET, True),
    ('content:"GET"; content:"/index"; distance:2;', GET, False),
    ('content:"GET"; content:"/index"; within:6;', GET, False),
    ('content:"GET"; content:"/index"; within:7;', GET, True),
    ('content:"GET"; content:"/index"; distance:1; within:6;', GET, True),
    ('content:"index"; content:"GET"; distance:-10;', GET, True),
    ('content:"index"; content:"GET"; distance:-10; within:2;', GET, None),
    ('content:"index"; content:"/index"; distance:-6; within:6;', GET, True),
    ('content:"index"; content:"GET"; distance:0;', GET, False),
    ('content:"GET"; content:!"Host"; distance:0;', GET, False),
    ('content:"GET"; content:!"Host"; within:10;', GET, True),
    ('content:"Host"; content:!"GET"; distance:0;', GET, True),
    # order matters only for relative contents
    ('content:"Host"; content:"GET";', GET, True),
    # backtracking: the first place of the first content does not do
    ('content:"a"; content:"b"; distance:0; within:1;', b"axxab", True),
    ('content:"a"; content:"b"; within:1; content:"c"; within:1;', b"abxabyabc", True),
    ('content:"a"; content:"b"; within:1; content:"c"; within:1;', b"abxacyab", False),
    ('content:"ab"; content:"cd"; distance:2; within:2;', b"abcdab__cd", True),
    ('content:"a"; content:!"b"; within:1;', b"abac", True),
    ('content:"a"; content:!"b"; within:1;', b"abab", False),
    ('content:"a"; nocase; content:"B"; within:1; nocase;', b"axAb", True),
    ('content:"a"; pcre:"/^b/R";', b"axab", True),
    ('content:"a"; byte_test:1,=,0x62,0,relative;', b"acab", True),
    ('content:"a"; isdataat:!1,relative;', b"aba", True),
    # start and end
    ('content:"GET"; startswith;', GET, True),
    ('content:"ET"; startswith;', GET, False),
    ('content:"get"; startswith; nocase;', GET, True),
    ('content:!"GET"; startswith;', GET, False),
    ('content:!"PUT"; startswith;', GET, True),
    ('content:"|0d 0a|"; endswith;', GET, True),
    ('content:"Host"; endswith;', GET, False),
    ('content:"abc"; endswith;', b"abcab", False),
    ('content:"ABC"; endswith; nocase;', b"xxabc", True),
    ('content:!"|0d 0a|"; endswith;', GET, False),
    ('content:"abc"; startswith; endswith;', b"abc", True),
    ('content:"abc"; startswith; endswith;', b"abcabc", False),
    ('content:"x"; content:"abc"; distance:0; endswith;', b"xxabc", True),
    ('content:"abc"; content:"c"; distance:0; endswith;', b"abc", False),
    # several and repeated
    ('content:"a"; content:"a"; distance:0;', b"a", False),
    ('content:"a"; content:"a"; distance:0;', b"aa", True),
    ('content:"a"; content:"a";', b"a", True),
    ('content:"GET"; rawbytes;', GET, True),
    ('content:"GET"; content:"Host"; fast_pattern;', GET, True),
    ('content:"GET"; content:"Host: example"; fast_pattern:0,4;', GET, True),
    ('content:"GET"; fast_pattern:only; content:"Host";', GET, True),
]  # fmt: skip


@pytest.mark.parametrize(("options", "payload", "expected"), CONTENT)
def test_content(options: str, payload: bytes, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(AssertionError):
            hit(options, payload)
    else:
        assert hit(options, payload) is expected


OTHER = [
    ("isdataat:3;", b"abcd", True),
    ("isdataat:4;", b"abcd", False),
    ("isdataat:!4;", b"abcd", True),
    ("isdataat:!3;", b"abcd", False),
    ('content:"ab"; isdataat:2,relative;', b"abcd", True),
    ('content:"ab"; isdataat:3,relative;', b"abcd", False),
    ('content:"ab"; isdataat:!3,relative;', b"abcd", True),
    # pcre
    ('pcre:"/HTTP\\/1\\.[01]/";', GET, True),
    ('pcre:"/http/";', GET, False),
    ('pcre:"/http/i";', GET, True),
    ('pcre:"/^Host/";', GET, False),
    ('pcre:"/^Host/m";', GET, True),
    ('pcre:"/GET.*Host/";', GET, False),
    ('pcre:"/GET.*Host/s";', GET, True),
    ('pcre:"/G E T/x";', GET, True),
    ('pcre:"/ET/A";', GET, False),
    ('pcre:!"/POST/";', GET, True),
    ('pcre:!"/GET/";', GET, False),
    ('content:"GET "; pcre:"/^\\/index/R";', GET, True),
    ('content:"GET"; pcre:"/^\\/index/R";', GET, False),
    ('content:"Host"; pcre:"/GET/R";', GET, False),
    ('content:"Host"; pcre:"/GET/";', GET, True),
    ('pcre:"/a/"; content:"b"; distance:0; within:1;', b"axab", True),
    ('pcre:"/a/"; pcre:"/^b/R";', b"acab", True),
    ('pcre:"/\\x00\\xff/";', b"a\0\xffb", True),
    ('content:"a"; pcre:!"/^b/R";', b"ac", True),
    # byte_test
    ("byte_test:1,=,1,0;", b"\1", True),
    ("byte_test:2,=,258,0;", b"\1\2", True),
    ("byte_test:2,=,513,0,little;", b"\1\2", True),
    ("byte_test:2,>,257,0;", b"\1\2", True),
    ("byte_test:2,>,258,0;", b"\1\2", False),
    ("byte_test:2,>=,258,0;", b"\1\2", True),
    ("byte_test:2,<,258,0;", b"\1\2", False),
    ("byte_test:2,<=,258,0;", b"\1\2", True),
    ("byte_test:2,!=,258,0;", b"\1\2", False),
    ("byte_test:2,!=,259,0;", b"\1\2", True),
    ("byte_test:1,&,4,1;", b"\0\6", True),
    ("byte_test:1,&,8,1;", b"\0\6", False),
    ("byte_test:1,!&,8,1;", b"\0\6", True),
    ("byte_test:1,^,6,1;", b"\0\6", False),
    ("byte_test:4,=,0x01020304,1;", b"\0\1\2\3\4", True),
    ("byte_test:4,=,0x01020304,2;", b"\0\1\2\3\4", False),     # beyond the end
    ("byte_test:8,=,0x0102030405060708,0;", bytes(range(1, 9)), True),
    ("byte_test:3,=,123,1,string,dec;", b"x123", True),
    ("byte_test:2,=,0x1f,0,string,hex;", b"1f", True),
    ("byte_test:3,=,8,0,string,oct;", b"010", True),
    ("byte_test:3,=,123,0,string,dec;", b"abc", False),
    ('content:"len="; byte_test:2,>,10,0,relative,string,dec;', b"len=42", True),
    ('content:"len="; byte_test:2,>,50,0,relative,string,dec;', b"len=42", False),
    ('content:"b"; byte_test:1,=,0x61,-2,relative;', b"ab", True),
    ("byte_test:2,=,3,0,bitmask 0x0ff0;", b"\0\x30", True),
    # byte_jump
    ('byte_jump:1,0; content:"x"; within:1;', b"\2abx", True),
    ('byte_jump:1,0; content:"x"; within:1;', b"\1abx", False),
    ('byte_jump:1,0,from_beginning; content:"b"; within:1;', b"\2ab", True),
    ('byte_jump:2,0,little; content:"x"; within:1;', b"\1\0ax", True),
    ('byte_jump:1,0,multiplier 2; content:"x"; within:1;', b"\1abx", True),
    ('byte_jump:1,0,align; content:"x"; within:1;', b"\1abcdx", True),
    ('byte_jump:1,0,post_offset -1; content:"b"; within:1;', b"\2abx", True),
    ('byte_jump:1,0,from_end,post_offset -1; content:"x"; within:1;', b"\0abx", True),
    ("byte_jump:1,0;", b"\x09ab", False),                        # out of the payload
    ("byte_jump:1,0;", b"\2ab", True),
    ('content:"n"; byte_jump:1,0,relative,string,dec; content:"x"; within:1;', b"n2__x", True),
    ('byte_jump:1,0; isdataat:!1,relative;', b"\2ab", True),
    # byte_extract
    ('byte_extract:1,0,n; content:"x"; offset:n; depth:1;', b"\3__x", True),
    ('byte_extract:1,0,n; content:"x"; offset:n; depth:1;', b"\2__x", False),
    ('byte_extract:1,0,n; content:"a"; content:"b"; distance:n; within:1;', b"\2a__b", True),
    ('byte_extract:1,0,n; content:"a"; content:"b"; distance:n; within:1;', b"\1a__b", False),
    ("byte_extract:1,0,n; byte_test:1,=,n,1;", b"\5\5", True),
    ("byte_extract:1,0,n; byte_test:1,=,n,1;", b"\5\6", False),
    ("byte_extract:1,0,n; isdataat:!n;", b"\2a", True),
    ("byte_extract:1,0,n; isdataat:!n;", b"\1a", False),
    ("byte_extract:2,0,n,little; byte_test:1,=,n,2;", b"\5\0\5", True),
    ("byte_extract:1,0,n,multiplier 3; byte_test:1,=,n,1;", b"\2\6", True),
    ("byte_extract:2,0,n,string,dec; byte_test:1,=,n,2;", b"12\x0c", True),
    ("byte_extract:4,0,n;", b"abc", False),
    ('byte_extract:1,0,n; byte_jump:1,1,post_offset n; content:"x"; within:1;', b"\1\1ab_x", False),
    ('byte_extract:1,0,n; byte_jump:1,1,post_offset n; content:"x"; within:1;', b"\1\1abx", True),
    # byte_math
    ("byte_math:bytes 1, offset 0, oper +, rvalue 3, result r; byte_test:1,=,r,1;", b"\2\5", True),
    ("byte_math:bytes 1, offset 0, oper -, rvalue 1, result r; byte_test:1,=,r,1;", b"\2\1", True),
    ("byte_math:bytes 1, offset 0, oper *, rvalue 3, result r; byte_test:1,=,r,1;", b"\2\6", True),
    ("byte_math:bytes 1, offset 0, oper /, rvalue 2, result r; byte_test:1,=,r,1;", b"\7\3", True),
    ("byte_math:bytes 1, offset 0, oper <<, rvalue 2, result r; byte_test:1,=,r,1;", b"\1\4", True),
    ("byte_math:bytes 1, offset 0, oper >>, rvalue 2, result r; byte_test:1,=,r,1;", b"\4\1", True),
    ("byte_math:bytes 1, offset 0, oper +, rvalue 3, result r; byte_test:1,=,r,1;", b"\2\6", False),
    ("byte_extract:1,0,n; byte_math:bytes 1, offset 1, oper /, rvalue n, result r;", b"\0\1",
     False),
    ("byte_extract:1,0,n; byte_math:bytes 1, offset 1, oper +, rvalue n, result r; "
     "byte_test:1,=,r,2;", b"\1\2\3", True),
    # sizes of packets and buffers
    ("dsize:4;", b"abcd", True),
    ("dsize:!4;", b"abcd", False),
    ("dsize:<4;", b"abcd", False),
    ("dsize:>3;", b"abcd", True),
    ("dsize:3<>5;", b"abcd", True),
    ("dsize:4<>6;", b"abcd", False),
    ("dsize:0;", b"", True),
    ('udp.hdr; content:"|00 0c|"; offset:4; depth:2;', b"abcd", True),
    ('udp.hdr; bsize:8; content:"|04 00|";', b"abcd", True),
    ('udp.hdr; bsize:9; content:"|04 00|";', b"abcd", False),
    ('udp.hdr; bsize:>7; content:"|04 00|";', b"abcd", True),
    ('udp.hdr; content:"abcd";', b"abcd", False),
    ('ipv4.hdr; content:"|40 11|"; offset:8; depth:2;', b"abcd", True),
    ('ipv4.hdr; content:"|40 06|"; offset:8; depth:2;', b"abcd", False),
    ('udp.hdr; content:"|04 00|"; startswith; pkt_data; content:"abcd";', b"abcd", True),
]  # fmt: skip


@pytest.mark.parametrize(("options", "payload", "expected"), OTHER)
def test_bytes(options: str, payload: bytes, expected: bool) -> None:
    assert hit(options, payload) is expected


def test_a_rule_that_never_comes_to_an_end_is_cut_off_and_counted() -> None:
    from engines import Run

    again = 'content:"a"; distance:0; ' * 3
    rule = (
        f'alert udp any any -> any any (content:"a"; {again} content:"b"; distance:0; '
        'content:"c"; within:1; sid:1;)'
    )
    run = Run(rule).feed([traffic.udp(b"a" * 1400 + b"b" + b"xc"), traffic.udp(b"aaaabc")]).finish()
    assert run.alerts() == [(2, 1)]
    assert run.engine.stats()["detect"]["inspection_limit_reached"] >= 1


# ---- the oracle: content and its modifiers, tried exhaustively -------------------------

Content = tuple[bytes, bool, bool, str, int, int | None, bool]
# text, negated, nocase, "abs" or "rel", first (offset or distance), span (depth or within), end


def places(content: Content, payload: bytes, cursor: int) -> list[int]:
    """Every place where the content may stand."""
    text, _, nocase, how, first, span, at_end = content
    base = cursor if how == "rel" else 0
    high = len(payload) if span is None else min(len(payload), base + first + span)
    found = []
    for at in range(max(0, base + first), high - len(text) + 1):
        piece = payload[at : at + len(text)]
        same = piece.lower() == text.lower() if nocase else piece == text
        if same and (not at_end or at + len(text) == len(payload)):
            found.append(at)
    return found


def oracle(contents: list[Content], payload: bytes, cursor: int = 0) -> bool:
    if not contents:
        return True
    first, *rest = contents
    found = places(first, payload, cursor)
    if first[1]:
        return not found and oracle(rest, payload, cursor)
    return any(oracle(rest, payload, at + len(first[0])) for at in found)


def written(content: Content) -> str:
    text, negated, nocase, how, first, span, at_end = content
    out = f'content:{"!" if negated else ""}"{text.decode()}";'
    names = ("offset", "depth") if how == "abs" else ("distance", "within")
    if first or how == "rel":
        out += f" {names[0]}:{first};"
    if span is not None:
        out += f" {names[1]}:{span};"
    return out + (" nocase;" if nocase else "") + (" endswith;" if at_end else "")


@st.composite
def content_lists(draw: st.DrawFn) -> list[Content]:
    contents: list[Content] = []
    for number in range(draw(st.integers(1, 3))):
        text = draw(st.text("abA", min_size=1, max_size=3)).encode()
        after_negated = bool(contents) and contents[-1][1]
        relative = number > 0 and not after_negated and draw(st.booleans())
        first = draw(st.integers(-4, 5) if relative else st.integers(0, 6))
        span = draw(st.none() | st.integers(len(text), len(text) + 5))
        at_end = span is None and draw(st.integers(0, 5)) == 0
        if at_end and not relative:
            first = 0
        negated = draw(st.integers(0, 3)) == 0
        how = "rel" if relative else "abs"
        contents.append((text, negated, draw(st.booleans()), how, first, span, at_end))
    return contents


@settings(max_examples=120, deadline=None)
@given(
    st.lists(content_lists(), min_size=4, max_size=12),
    st.lists(st.text("abAx", min_size=1, max_size=12), min_size=3, max_size=8),
)
def test_contents_match_where_an_exhaustive_search_finds_them(
    rules: list[list[Content]], payloads: list[str]
) -> None:
    from engines import Run

    lines = [
        f"alert udp any any -> any any ({' '.join(map(written, contents))} sid:{n};)"
        for n, contents in enumerate(rules, 1)
    ]
    data = [payload.encode() for payload in payloads]
    run = Run("\n".join(lines)).feed([traffic.udp(payload) for payload in data])
    expected = {
        (frame, sid)
        for frame, payload in enumerate(data, 1)
        for sid, contents in enumerate(rules, 1)
        if oracle(contents, payload)
    }
    assert set(run.alerts()) == expected, "\n".join(lines)
