# Hyperscan 5.4 (libhs), used names only.
# https://intel.github.io/hyperscan/dev-reference/
cdef extern from "hs/hs.h" nogil:
    ctypedef struct hs_database_t:
        pass
    ctypedef struct hs_scratch_t:
        pass
    ctypedef struct hs_platform_info_t:
        pass
    ctypedef struct hs_compile_error_t:
        char *message
        int expression
    ctypedef int hs_error_t
    ctypedef int (*match_event_handler)(unsigned int id, unsigned long long start,
                                        unsigned long long end, unsigned int flags,
                                        void *context) noexcept
    enum:
        HS_SUCCESS
        HS_SCAN_TERMINATED
        HS_MODE_BLOCK
        HS_FLAG_CASELESS
        HS_FLAG_SINGLEMATCH
    hs_error_t hs_compile_lit_multi(const char *const *expressions, const unsigned *flags,
                                    const unsigned *ids, const size_t *lens, unsigned elements,
                                    unsigned mode, const hs_platform_info_t *platform,
                                    hs_database_t **db, hs_compile_error_t **error)
    hs_error_t hs_free_compile_error(hs_compile_error_t *error)
    hs_error_t hs_free_database(hs_database_t *db)
    hs_error_t hs_database_size(const hs_database_t *db, size_t *size)
    hs_error_t hs_alloc_scratch(const hs_database_t *db, hs_scratch_t **scratch)
    hs_error_t hs_clone_scratch(const hs_scratch_t *src, hs_scratch_t **dest)
    hs_error_t hs_free_scratch(hs_scratch_t *scratch)
    hs_error_t hs_scan(const hs_database_t *db, const char *data, unsigned int length,
                       unsigned int flags, hs_scratch_t *scratch,
                       match_event_handler on_event, void *context)
    hs_error_t hs_valid_platform()
    const char *hs_version()
