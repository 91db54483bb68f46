from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

def dtypes() -> dict[str, np.dtype[Any]]: ...
def check_pcre(pattern: bytes, flags: str = "") -> None: ...

class RuleBase:
    generation: int
    n_rules: int
    n_flowbits: int
    n_flowints: int
    n_xbits: int
    def __init__(self, image: Any) -> None: ...
    def memory(self) -> dict[str, int]: ...

class Remainder:
    base: RuleBase
    patterns: int
    groups: int
    def __init__(self, base: RuleBase, covered: npt.NDArray[np.uint8]) -> None: ...

class Action(IntEnum):
    ACTION_ALERT = 0
    ACTION_DROP = 1
    ACTION_PASS = 2
    ACTION_REJECT = 3
    ACTION_REJECT_DST = 4
    ACTION_REJECT_BOTH = 5

class Buffer(IntEnum):
    BUF_PAYLOAD = 0
    BUF_IPV4_HDR = 1
    BUF_IPV6_HDR = 2
    BUF_TCP_HDR = 3
    BUF_UDP_HDR = 4
    BUF_ICMPV4_HDR = 5
    BUF_ICMPV6_HDR = 6
    BUF_COUNT = 7

class Compare(IntEnum):
    CMP_EQ = 0
    CMP_NE = 1
    CMP_LT = 2
    CMP_GT = 3
    CMP_LE = 4
    CMP_GE = 5
    CMP_BETWEEN = 6
    CMP_WITHIN = 7
    CMP_AND = 8
    CMP_OR = 9
    CMP_NOT_WITHIN = 10

class Csum(IntEnum):
    CSUM_IPV4 = 0
    CSUM_TCPV4 = 1
    CSUM_UDPV4 = 2
    CSUM_ICMPV4 = 3
    CSUM_TCPV6 = 4
    CSUM_UDPV6 = 5
    CSUM_ICMPV6 = 6

class Field(IntEnum):
    FIELD_TTL = 0
    FIELD_TOS = 1
    FIELD_IP_ID = 2
    FIELD_IP_PROTO = 3
    FIELD_DSIZE = 4
    FIELD_SEQ = 5
    FIELD_ACK = 6
    FIELD_WINDOW = 7
    FIELD_MSS = 8
    FIELD_ITYPE = 9
    FIELD_ICODE = 10
    FIELD_ICMP_ID = 11
    FIELD_ICMP_SEQ = 12
    FIELD_FRAGOFFSET = 13
    FIELD_VLAN_LAYERS = 14
    FIELD_TCP_WSCALE = 15

class FlagsCompare(IntEnum):
    FLAGS_EXACT = 0
    FLAGS_ALL = 1
    FLAGS_ANY = 2
    FLAGS_NOT = 3

class FlowIntOp(IntEnum):
    FLOWINT_SET = 0
    FLOWINT_ADD = 1
    FLOWINT_SUB = 2

class FlowField(IntEnum):
    FLOWF_AGE = 0
    FLOWF_PKTS_TS = 1
    FLOWF_PKTS_TC = 2
    FLOWF_BYTES_TS = 3
    FLOWF_BYTES_TC = 4
    FLOWF_PKTS_EITHER = 5
    FLOWF_BYTES_EITHER = 6

class GroupClass(IntEnum):
    CLASS_TCP_PACKET = 0
    CLASS_TCP_STREAM = 1
    CLASS_UDP = 2
    CLASS_OTHER = 3
    CLASS_COUNT = 4

class GroupKind(IntEnum):
    GROUP_ANY = 0
    GROUP_DPORT = 1
    GROUP_SPORT = 2
    GROUP_KINDS = 3

class MathOp(IntEnum):
    MATH_ADD = 0
    MATH_SUB = 1
    MATH_MUL = 2
    MATH_DIV = 3
    MATH_SHL = 4
    MATH_SHR = 5

class OpFlag(IntEnum):
    OPF_NEGATED = 1
    OPF_NOCASE = 2
    OPF_OFFSET = 4
    OPF_DEPTH = 8
    OPF_DISTANCE = 16
    OPF_WITHIN = 32
    OPF_ENDSWITH = 64
    OPF_RELATIVE = 128
    OPF_NEXT_RELATIVE = 256
    OPF_VAR_OFFSET = 512
    OPF_VAR_DEPTH = 1024
    OPF_VAR_DISTANCE = 2048
    OPF_VAR_WITHIN = 4096
    OPF_VAR_A = 8192
    OPF_VAR_NBYTES = 16384
    OPF_LITTLE = 32768
    OPF_STRING = 65536
    OPF_ALIGN = 131072
    OPF_FROM_BEGINNING = 262144
    OPF_FROM_END = 524288
    OPF_BITMASK = 1048576
    OPF_FAST_PATTERN = 2097152
    OPF_FAST_PATTERN_ONLY = 4194304
    OPF_CMP_NEGATED = 8388608
    OPF_STARTSWITH = 16777216

class OpKind(IntEnum):
    OP_CONTENT = 1
    OP_PCRE = 2
    OP_BYTE_TEST = 3
    OP_BYTE_JUMP = 4
    OP_BYTE_EXTRACT = 5
    OP_BYTE_MATH = 6
    OP_ISDATAAT = 7
    OP_BSIZE = 8
    CHK_FIELD = 32
    CHK_TCP_FLAGS = 33
    CHK_FRAGBITS = 34
    CHK_SAMEIP = 35
    CHK_EVENT = 36
    CHK_CSUM = 37
    CHK_VLAN_ID = 38
    CHK_FLOWBITS_ISSET = 39
    CHK_FLOWBITS_ISNOTSET = 40
    CHK_FLOWINT = 41
    CHK_FLOWINT_ISSET = 42
    CHK_XBITS = 43
    CHK_FLOW = 44
    CHK_STREAM_SIZE = 45
    CHK_IPOPT = 46
    POST_FLOWBITS_SET = 64
    POST_FLOWBITS_UNSET = 65
    POST_FLOWBITS_TOGGLE = 66
    POST_FLOWINT = 67
    POST_XBITS_SET = 68
    POST_XBITS_UNSET = 69
    POST_XBITS_TOGGLE = 70

class ProtoBit(IntEnum):
    PB_TCP = 1
    PB_UDP = 2
    PB_ICMP = 4
    PB_ICMPV6 = 8
    PB_SCTP = 16
    PB_OTHER = 32
    PB_ANY = 63

class RuleFlag(IntEnum):
    RF_NOALERT = 1
    RF_BYPASS = 2
    RF_TO_SERVER = 4
    RF_TO_CLIENT = 8
    RF_ESTABLISHED = 16
    RF_NOT_ESTABLISHED = 32
    RF_STATELESS = 64
    RF_ONLY_STREAM = 128
    RF_NO_STREAM = 256
    RF_ONLY_FRAG = 512
    RF_NO_FRAG = 1024
    RF_REQUIRE_PACKET = 2048
    RF_REQUIRE_STREAM = 4096
    RF_NEEDS_FLOW = 8192
    RF_PKTHDR = 16384
    RF_IPV4 = 32768
    RF_IPV6 = 65536
    RF_PAYLOAD = 131072

class RuleType(IntEnum):
    RULE_PACKET = 0
    RULE_IPONLY = 1
    RULE_LIKE_IPONLY = 2
    RULE_EVENT = 3
    RULE_PACKET_STREAM = 4
    RULE_STREAM = 5

class StreamSide(IntEnum):
    SIDE_SERVER = 0
    SIDE_CLIENT = 1
    SIDE_BOTH = 2
    SIDE_EITHER = 3

class ThresholdKind(IntEnum):
    THRESHOLD_LIMIT = 0
    THRESHOLD_THRESHOLD = 1
    THRESHOLD_BOTH = 2
    THRESHOLD_BACKOFF = 3
    THRESHOLD_DETECTION_FILTER = 4

class Track(IntEnum):
    TRACK_SRC = 0
    TRACK_DST = 1
    TRACK_BOTH = 2
    TRACK_RULE = 3
    TRACK_FLOW = 4

class VlanLayer(IntEnum):
    VLAN_LAST = 252
    VLAN_ANY = 254
    VLAN_ALL = 255

MAX_VARS: int
MAX_PATTERN: int
