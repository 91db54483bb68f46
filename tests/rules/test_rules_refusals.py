"""Rules that must be refused, each with the keyword that is to blame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.rules.registry import KEYWORDS
from nsdata.rules.ruleset import load_text

TCP = "alert tcp any any -> any any"
UDP = "alert udp any any -> any any"
IP = "alert ip any any -> any any"

# (options, keyword blamed, words of the reason)
REFUSED = [
    # the rule whole
    ("", "sid", "no sid"),
    ("sid:0;", "sid", "0 is not in"),
    ("sid:4294967296;", "sid", "not in"),
    ("sid:1; sid:2;", "sid", "twice"),
    ("sid:x;", "sid", "no number"),
    ('sid:1; msg:"a"; msg:"b";', "msg", "twice"),
    ("sid:1; msg:a;", "msg", "quotes"),
    ('sid:1; msg:"a;', "msg", "closing quote"),
    ("sid:1; rev:-1;", "rev", "no number"),
    ("sid:1; priority:0;", "priority", "not in"),
    ("sid:1; priority:256;", "priority", "not in"),
    ("sid:1; classtype:a b;", "classtype", "no class name"),
    ("sid:1; reference:url;", "reference", "type,value"),
    ("sid:1; target:both;", "target", "src_ip or dest_ip"),
    ("sid:1; noalert; alert;", "alert", "exclude"),
    ("sid:1; noalert:1;", "noalert", "no value"),
    ("sid:1; nonsense:1;", "nonsense", "unknown keyword"),
    ('sid:1; contnt:"abc";', "contnt", "unknown keyword: did you mean content"),
    ("sid:1; requires:version 7;", "requires", "no version"),
    # content and modifiers
    ("sid:1; content:abc;", "content", "quotes"),
    ("sid:1; content;", "content", "needs a value"),
    ("sid:1; content:;", "content", "needs a value"),
    ('sid:1; content:"";', "content", "empty"),
    ('sid:1; content:"ab"c";', "content", "unescaped"),
    ('sid:1; content:"abc"";', "content", "unescaped"),
    ('sid:1; content:"abc;', "content", "closing quote"),
    ('sid:1; content:"a|0d";', "content", "not closed"),
    ('sid:1; content:"|0|";', "content", "incomplete hex"),
    ('sid:1; content:"|0 d|";', "content", "incomplete hex"),
    ('sid:1; content:"|0g|";', "content", "no hex digit"),
    (r'sid:1; content:"a\n";', "content", "no escape"),
    ("sid:1; depth:5;", "depth", "content before it"),
    ("sid:1; nocase;", "nocase", "content before it"),
    ('sid:1; content:"abc"; depth:2;', "depth", "smaller than the content"),
    ('sid:1; content:"abc"; depth:-5;', "depth", "no number"),
    ('sid:1; content:"abc"; depth:65536;', "depth", "not in"),
    ('sid:1; content:"abc"; within:2;', "within", "smaller than the content"),
    ('sid:1; content:"abc"; depth:5; depth:5;', "depth", "twice"),
    ('sid:1; content:"abc"; offset:5; offset:5;', "offset", "twice"),
    ('sid:1; content:"abc"; distance:5; distance:5;', "distance", "twice"),
    ('sid:1; content:"abc"; within:5; within:5;', "within", "twice"),
    ('sid:1; content:"abc"; nocase; nocase;', "nocase", "twice"),
    ('sid:1; content:"abc"; rawbytes; rawbytes;', "rawbytes", "twice"),
    ('sid:1; content:"abc"; startswith; startswith;', "startswith", "twice"),
    ('sid:1; content:"abc"; endswith; endswith;', "endswith", "twice"),
    ('sid:1; content:"abc"; depth:5; distance:1;', "distance", "offset or depth"),
    ('sid:1; content:"abc"; offset:5; within:9;', "within", "offset or depth"),
    ('sid:1; content:"abc"; distance:1; offset:1;', "offset", "distance or within"),
    ('sid:1; content:"abc"; within:9; depth:9;', "depth", "distance or within"),
    ('sid:1; content:"abc"; startswith; offset:1;', "offset", "startswith"),
    ('sid:1; content:"abc"; startswith; within:9;', "within", "startswith"),
    ('sid:1; content:"abc"; depth:9; startswith;', "startswith", "offset, depth"),
    ('sid:1; content:"abc"; distance:0; startswith;', "startswith", "offset, depth"),
    ('sid:1; content:"abc"; distance:size;', "distance", "neither a number nor a variable"),
    ('sid:1; tcp.hdr; content:"abc"; rawbytes;', "rawbytes", "payload"),
    ('sid:1; content:"abc"; fast_pattern; content:"d"; fast_pattern;', "fast_pattern", "twice"),
    ('sid:1; content:"abc"; fast_pattern:2,2;', "fast_pattern", "over the content"),
    ('sid:1; content:"abc"; fast_pattern:1;', "fast_pattern", "offset,length"),
    ('sid:1; content:"abc"; fast_pattern:some;', "fast_pattern", "offset,length"),
    ('sid:1; content:!"abc"; offset:1; fast_pattern;', "fast_pattern", "negated"),
    ('sid:1; content:!"abc"; fast_pattern; offset:1;', "offset", "negated"),
    ('sid:1; content:!"abc"; fast_pattern:only;', "fast_pattern", "negated"),
    ('sid:1; content:"abc"; depth:9; fast_pattern:only;', "fast_pattern", "placed"),
    ('sid:1; content:"abc"; fast_pattern:only; within:9;', "within", "fast_pattern:only"),
    ('sid:1; content:"abc"; fast_pattern:only; content:"d"; distance:1;', "distance", "only"),
    ('sid:1; content:"abc"; fast_pattern:only; isdataat:1,relative;', "isdataat", "only"),
    ("sid:1; prefilter;", "prefilter", "before it"),
    ("sid:1; isdataat:-1;", "isdataat", "no number"),
    ("sid:1; isdataat:1,sometimes;", "isdataat", "no option"),
    ("sid:1; bsize:10;", "bsize", "sticky buffer"),
    ('sid:1; tcp.hdr; content:"abcdef"; bsize:5;', "bsize", "never match"),
    ('sid:1; tcp.hdr; content:"abcdef"; bsize:<6;', "bsize", "never match"),
    ('sid:1; tcp.hdr; content:"abc"; offset:3; bsize:2<>6;', "bsize", "never match"),
    # dsize against the contents
    ('sid:1; dsize:10; content:"abcdefghijk";', "dsize", "never match"),
    ('sid:1; dsize:50; content:"AA"; offset:100;', "dsize", "never match"),
    ('sid:1; dsize:<6; content:"abc"; content:"def"; distance:0;', "dsize", "never match"),
    ('sid:1; dsize:1<>6; content:"abcdef";', "dsize", "never match"),
    ('sid:1; dsize:9; content:"abc"; content:!"d"; distance:1; within:10;', "dsize", "never"),
    ("sid:1; dsize:1; dsize:2;", "dsize", "twice"),
    ("sid:1; dsize:65536;", "dsize", "not in"),
    # pcre
    ('sid:1; pcre:"/(/";', "pcre", "at byte 1"),
    ('sid:1; pcre:"/a{2,1}/";', "pcre", "at byte"),
    ('sid:1; pcre:"abc";', "pcre", "/expression/flags"),
    ('sid:1; pcre:"/";', "pcre", "/expression/flags"),
    ('sid:1; pcre:"/a/Z";', "pcre", "unknown flag"),
    ('sid:1; pcre:"/a/Ui";', "pcre:http", "HTTP"),
    ('sid:1; pcre:"/(a)/, flow:x";', "pcre", "captures"),
    ('sid:1; pcre:"/(?P<flow_x>a)/";', "pcre", "captures"),
    # byte_*
    ("sid:1; byte_test:4,>,1;", "byte_test", "write byte_test"),
    ("sid:1; byte_test:0,>,1,0;", "byte_test", "not in"),
    ("sid:1; byte_test:9,>,1,0;", "byte_test", "1 to 8"),
    ("sid:1; byte_test:21,>,1,0,string,dec;", "byte_test", "1 to 20"),
    ("sid:1; byte_test:15,>,1,0,string,hex;", "byte_test", "1 to 14"),
    ("sid:1; byte_test:24,>,1,0,string,oct;", "byte_test", "not in"),
    ("sid:1; byte_test:4,~,1,0;", "byte_test", "no operator"),
    ("sid:1; byte_test:4,>,1,0,hex;", "byte_test", "need string"),
    ("sid:1; byte_test:4,>,1,0,relative,relative;", "byte_test", "twice"),
    ("sid:1; byte_test:4,>,1,0,big,little;", "byte_test", "twice"),
    ("sid:1; byte_test:4,>,1,0,dce;", "byte_test", "DCERPC"),
    ("sid:1; byte_test:4,>,size,0;", "byte_test", "neither a number nor a variable"),
    ("sid:1; byte_jump:9,0;", "byte_jump", "0 to 8"),
    ("sid:1; byte_jump:4;", "byte_jump", "write byte_jump"),
    ("sid:1; byte_jump:4,0,multiplier 0;", "byte_jump", "not in"),
    ("sid:1; byte_jump:4,0,from_beginning,from_end;", "byte_jump", "exclude"),
    ("sid:1; byte_jump:size,0,relative;", "byte_jump", "neither a number nor a variable"),
    ("sid:1; byte_extract:4,0;", "byte_extract", "write byte_extract"),
    ("sid:1; byte_extract:0,0,x;", "byte_extract", "not in"),
    ("sid:1; byte_extract:4,0,9x;", "byte_extract", "digit"),
    ("sid:1; byte_extract:4,0,x,align 3;", "byte_extract", "2 or 4"),
    ("sid:1; byte_extract:4,0,x,string,little;", "byte_extract", "string"),
    ("sid:1; byte_math:bytes 4, offset 0, oper +, rvalue 1;", "byte_math", "write byte_math"),
    ("sid:1; byte_math:bytes 4, offset 0, oper +, rvalue 1, relative;", "byte_math", "result"),
    ("sid:1; byte_math:bytes 4, offset 0, oper %, rvalue 1, result x;", "byte_math", "operator"),
    ("sid:1; byte_math:bytes 4, offset 0, oper /, rvalue 0, result x;", "byte_math", "zero"),
    ("sid:1; byte_math:bytes 4, offset 0, oper <<, rvalue 64, result x;", "byte_math", "shift"),
    ("sid:1; byte_math:bytes n, offset 0, oper +, rvalue 1, result x;", "byte_math", "'n'"),
    ("sid:1;" + "".join(f"byte_extract:1,{n},v{n};" for n in range(17)), "byte_extract", "16"),
    ("sid:1; tcp.hdr; byte_extract:1,0,a; pkt_data; byte_test:1,=,a,0; byte_extract:1,0,b; "
     "tcp.hdr; byte_test:1,=,b,0;", "byte_extract", "to and fro"),
    # header
    ("sid:1; ttl:256;", "ttl", "not in"),
    ("sid:1; ttl:;", "ttl", "needs a value"),
    ("sid:1; ttl:<0;", "ttl", "never"),
    ("sid:1; ttl:>=0;", "ttl", "always"),
    ("sid:1; ttl:9<>5;", "ttl", "no number is between"),
    ("sid:1; ttl:5<>6;", "ttl", "no number is between"),
    ("sid:1; id:65536;", "id", "not in"),
    ("sid:1; itype:8;", "itype", "never match"),
    ("sid:1; udp.hdr;", "udp.hdr", "never match"),
    ("sid:1; ip_proto:17;", "ip_proto", "never match"),
    ("sid:1; ip_proto:nonesuch;", "ip_proto", "unknown"),
    ("sid:1; l3_proto:ipx;", "l3_proto", "ipv4 or ipv6"),
    ("sid:1; flags:X;", "flags", "no flag"),
    ("sid:1; flags:+*S;", "flags", "more than one"),
    ("sid:1; flags:;", "flags", "needs a value"),
    ("sid:1; flags:S,;", "flags", "write flags"),
    ("sid:1; fragbits:X;", "fragbits", "no flag"),
    ("sid:1; ipopts:none;", "ipopts", "no option"),
    ("sid:1; ipv4.hdr; ipv6.hdr;", "ipv6.hdr", "IPv4 and for IPv6"),
    ("sid:1; tcpv4-csum:maybe;", "tcpv4-csum", "valid or invalid"),
    ("sid:1; vlan.id:5000;", "vlan.id", "0 to 4095"),
    ("sid:1; vlan.id:5,3;", "vlan.id", "not in"),
    ("sid:1; decode-event:ipv4.none;", "decode-event", "unknown"),
    ("sid:1; decode-event:opt_invalid_len;", "decode-event", "Did you mean ipv4.opt_invalid_len"),
    ("sid:1; stream-event:none;", "stream-event", "unknown"),
    # flow and state
    ("sid:1; flow:to_server,to_client;", "flow", "contradicts"),
    ("sid:1; flow:to_server,from_client;", "flow", "twice"),
    ("sid:1; flow:established,not_established;", "flow", "contradicts"),
    ("sid:1; flow:established,stateless;", "flow", "contradicts"),
    ("sid:1; flow:established,established;", "flow", "twice"),
    ("sid:1; flow:only_stream,no_stream;", "flow", "contradicts"),
    ("sid:1; flow:somewhere;", "flow", "none of"),
    ("sid:1; flow:established; flow:to_server;", "flow", "twice"),
    ("sid:1; flow:only_stream; flags:S;", "flow", "stream alone"),
    ("sid:1; flowbits:set;", "flowbits", "needs a name"),
    ("sid:1; flowbits:set,a b;", "flowbits", "no blanks"),
    ("sid:1; flowbits:set,a|b;", "flowbits", "alternatives"),
    ("sid:1; flowbits:clear,a;", "flowbits", "none of"),
    ("sid:1; flowbits:noalert,a;", "flowbits", "no name"),
    ("sid:1; flowint:a;", "flowint", "write name"),
    ("sid:1; flowint:a,*,1;", "flowint", "write name"),
    ("sid:1; flowint:a,isset,1;", "flowint", "no number"),
    ("sid:1; xbits:set,a;", "xbits", "write command"),
    ("sid:1; xbits:set,a,track tx;", "xbits", "ip_src"),
    ("sid:1; xbits:set,a,track ip_src,expire 0;", "xbits", "not in"),
    ("sid:1; hostbits:set,a,both;", "hostbits", "src or dst"),
    ("sid:1; flow.pkts:5;", "flow.pkts", "write toserver"),
    ("sid:1; stream_size:server,5;", "stream_size", "write server"),
    # thresholds
    ("sid:1; threshold:type limit, track by_src, count 1;", "threshold", "seconds is missing"),
    ("sid:1; threshold:type x, track by_src, count 1, seconds 1;", "threshold", "none of"),
    ("sid:1; threshold:type limit, track x, count 1, seconds 1;", "threshold", "none of"),
    ("sid:1; threshold:type limit, track by_src, count 0, seconds 1;", "threshold", "not in"),
    ("sid:1; threshold:type backoff, track by_src, count 1, multiplier 2;", "threshold", "by_flow"),
    ("sid:1; threshold:type limit, type both, track by_src, count 1, seconds 1;", "threshold",
     "twice"),
    ("sid:1; detection_filter:track by_src, count 1, seconds 0;", "detection_filter", "not in"),
    ("sid:1; detection_filter:track by_src, count 1, seconds 1; threshold:type limit, "
     "track by_src, count 1, seconds 1;", "threshold", "twice"),
    ("sid:1; tag:host,5,packets;", "tag", "src or dst"),
    ("sid:1; tag:packet;", "tag", "session or host"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "keyword", "says"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(options: str, keyword: str, says: str) -> None:
    rules = load_text(f"{TCP} ({options})\n{TCP} (sid:99;)", "r.rules")
    (error,) = rules.refused
    assert says in error.reason
    assert (error.keyword, error.line) == (keyword, 1)
    assert str(error).startswith("r.rules:1:")
    assert [rule.sid for rule in rules.rules] == [99]


@pytest.mark.parametrize(
    ("header", "keyword", "says"),
    [
        ("alert http any any -> any any", "protocol:http", "not supported yet"),
        ("alert tls any any -> any any", "protocol:tls", "not supported yet"),
        ("alert ftp-data any any -> any any", "protocol:ftp-data", "not supported yet"),
        ("alert arp any any -> any any", "protocol:arp", "not supported yet"),
        ("alert tcp:flow_start any any -> any any", "protocol:tcp:flow_start", "hook"),
        ("alert nonsense any any -> any any", "protocol:nonsense", "unknown protocol"),
        ("alert tcp any any => any any", "=>", "transactional"),
        ("alert tcp $NONE any -> any any", "header", "unknown variable $NONE"),
        ("alert tcp !any any -> any any", "header", "negates every address"),
        ("alert tcp any 80:70 -> any any", "header", "ends before it begins"),
    ],
)
def test_bad_headers(header: str, keyword: str, says: str) -> None:
    (error,) = load_text(f"{header} (sid:1;)").refused
    assert error.keyword == keyword
    assert says in error.reason


def test_faults_of_the_whole_rule_point_at_a_keyword() -> None:
    text = f'{TCP} (content:"abc"; dsize:2; sid:1;)'
    (error,) = load_text(text).refused
    assert error.column == text.index("dsize") + 1
    (error,) = load_text("alert http any any -> any any (sid:1;)").refused
    assert error.column == 7


@pytest.mark.parametrize(
    ("option", "family"),
    [
        ("http.uri;", "HTTP"),
        ("http_header;", "HTTP"),
        ("urilen:5;", "HTTP"),
        ("file_data;", "file"),
        ("filemd5:x;", "file"),
        ("dns.query;", "DNS"),
        ("dns_query;", "DNS"),
        ("tls.sni;", "TLS"),
        ("ssl_version:tls1.2;", "TLS"),
        ("ja3.hash;", "TLS"),
        ("ssh_proto;", "SSH"),
        ("smb.share;", "SMB"),
        ("dce_iface:x;", "DCERPC"),
        ("app-layer-event:x;", "application layer"),
        ("to_sha256;", "transformation"),
        ("base64_decode:bytes 5;", "transformation"),
        ("lua:x.lua;", "script"),
        ("geoip:any,US;", "data set"),
    ],
)
def test_known_keywords_say_what_they_need(option: str, family: str) -> None:
    (error,) = load_text(f"{TCP} ({option} sid:1;)").refused
    assert error.reason == f"needs {family} inspection, not supported yet"


@pytest.mark.parametrize(
    "options",
    [
        # what looks like a contradiction and is none
        'dsize:4; content:"abcd"; content:"bc";',
        'dsize:4; content:"abcd"; content:"bc"; distance:-3; within:2;',
        'dsize:!4; content:"abcdefgh";',
        'dsize:>4; content:"ab";',
        'dsize:6; content:"abcdef";',
        'dsize:<7; content:"abcdef";',
        'content:"abc"; distance:9; within:29; endswith;',
        'content:"abc"; offset:40; endswith;',
        'content:"abc"; startswith; endswith;',
        'content:!"abc"; fast_pattern;',
        'content:"abc"; fast_pattern:only; nocase;',
        'content:"a"; content:"b"; distance:0; fast_pattern;',
        'pcre:/blah/; content:!"x";',
    ],
)
def test_not_refused(options: str) -> None:
    assert load_text(f"{TCP} ({options} sid:1;)").refused == []


_values = st.text(
    alphabet=st.sampled_from('abz019 ,|"\\;:!<>=-+*/()[]{}$.&^_é\x00\udcff'), max_size=25
)


@given(st.lists(st.tuples(st.sampled_from(sorted(KEYWORDS)), st.none() | _values), max_size=6))
def test_any_value_loads_or_is_refused(options: list[tuple[str, str | None]]) -> None:
    text = " ".join(name + (";" if value is None else f":{value};") for name, value in options)
    rules = load_text(f"{IP} ({text} sid:1;)")
    assert len(rules.rules) + len(rules.refused) + len(rules.skipped) == 1
    if rules.rules:
        rules.compile()


_numbers = st.integers(-3, 300).map(str)
_good = st.one_of(
    st.builds("content:\"{}\"".format, st.text("abc", min_size=1, max_size=5)),
    st.builds("{}:{}".format, st.sampled_from(["offset", "depth", "distance", "within"]), _numbers),
    st.sampled_from(["nocase", "fast_pattern", "fast_pattern:only", "startswith", "endswith",
                     "tcp.hdr", "pkt_data", "isdataat:2,relative", "byte_extract:1,0,v",
                     "byte_test:1,=,v,0,relative", "flow:to_server", "flow:only_stream"]),
    st.builds("{}:{}".format, st.sampled_from(["dsize", "bsize", "ttl"]), _numbers),
)  # fmt: skip


@given(st.lists(_good, max_size=9))
def test_any_mix_loads_or_is_refused(options: list[str]) -> None:
    rules = load_text(f"{TCP} ({''.join(f'{one};' for one in options)} sid:1;)")
    assert len(rules.rules) + len(rules.refused) == 1
    if rules.rules:
        rules.load()
