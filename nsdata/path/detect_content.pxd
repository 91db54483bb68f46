# Buffer ops of a rule (content, pcre, byte_*, isdataat, bsize) against one buffer.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from nsdata.path.pcre2 cimport pcre2_code, pcre2_match_context, pcre2_match_data
from nsdata.path.rulebase cimport MAX_VARS, Op

cdef struct Inspection:
    const uint8_t *pool               # rule image's bytes
    pcre2_code **pcres
    pcre2_match_data *match_data
    pcre2_match_context *match_context
    const uint8_t *buffer
    int64_t length                    # bytes of buffer
    int64_t vars[MAX_VARS]            # byte_extract / byte_math results of this rule
    int64_t cursor                    # end of the last match
    int64_t match_end                 # furthest end of a content or pcre match
    uint32_t steps                    # work done, against step_limit
    uint32_t step_limit
    uint32_t limited                  # times the limit was hit (read by stats)

cdef bint inspect(Inspection *i, const Op *ops, uint32_t n) noexcept nogil
