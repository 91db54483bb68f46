# PCRE2 10.42 (libpcre2-8), used names only. https://www.pcre.org/current/doc/html/
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

cdef extern from *:
    """
    #define PCRE2_CODE_UNIT_WIDTH 8
    #include <pcre2.h>
    """
    ctypedef struct pcre2_code:
        pass
    ctypedef struct pcre2_match_data:
        pass
    ctypedef struct pcre2_match_context:
        pass
    ctypedef struct pcre2_compile_context:
        pass
    ctypedef struct pcre2_general_context:
        pass
    ctypedef struct pcre2_jit_stack:
        pass
    enum:
        PCRE2_ANCHORED
        PCRE2_CASELESS
        PCRE2_DOLLAR_ENDONLY
        PCRE2_DOTALL
        PCRE2_EXTENDED
        PCRE2_MULTILINE
        PCRE2_UNGREEDY
        PCRE2_JIT_COMPLETE
        PCRE2_ERROR_NOMATCH
        PCRE2_ERROR_MATCHLIMIT
    pcre2_code *pcre2_compile(const uint8_t *pattern, size_t length, uint32_t options,
                              int *errorcode, size_t *erroroffset,
                              pcre2_compile_context *context) nogil
    void pcre2_code_free(pcre2_code *code) nogil
    int pcre2_jit_compile(pcre2_code *code, uint32_t options) nogil
    int pcre2_match(const pcre2_code *code, const uint8_t *subject, size_t length, size_t start,
                    uint32_t options, pcre2_match_data *data,
                    pcre2_match_context *context) nogil
    pcre2_match_data *pcre2_match_data_create(uint32_t ovecsize,
                                              pcre2_general_context *context) nogil
    void pcre2_match_data_free(pcre2_match_data *data) nogil
    size_t *pcre2_get_ovector_pointer(pcre2_match_data *data) nogil
    pcre2_match_context *pcre2_match_context_create(pcre2_general_context *context) nogil
    void pcre2_match_context_free(pcre2_match_context *context) nogil
    int pcre2_set_match_limit(pcre2_match_context *context, uint32_t limit) nogil
    int pcre2_set_depth_limit(pcre2_match_context *context, uint32_t limit) nogil
    pcre2_jit_stack *pcre2_jit_stack_create(size_t start, size_t maximum,
                                            pcre2_general_context *context) nogil
    void pcre2_jit_stack_free(pcre2_jit_stack *stack) nogil
    void pcre2_jit_stack_assign(pcre2_match_context *context, void *callback, void *data) nogil
    int pcre2_get_error_message(int errorcode, uint8_t *buffer, size_t length) nogil
