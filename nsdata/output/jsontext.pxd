# JSON text written into a caller's buffer. Every function writes at `p`, which must have
# the room named beside it, and returns the byte after what it wrote. No bounds checks
# here: the caller reserves the sum of the rooms once per line.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, strlen

cdef extern from *:
    """
    static const char nsd_pairs[201] =
        "00010203040506070809101112131415161718192021222324"
        "25262728293031323334353637383940414243444546474849"
        "50515253545556575859606162636465666768697071727374"
        "75767778798081828384858687888990919293949596979899";
    static const char nsd_hex[17] = "0123456789abcdef";
    /* filled by nsd_fill: two base64 digits per 12 bits; one or two characters per byte */
    static char nsd_base64[4096][2];
    static char nsd_text[256][2];
    static unsigned char nsd_text_len[256];
    static void nsd_fill(void) {
        static const char digits[65] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for (int i = 0; i < 4096; i++) {
            nsd_base64[i][0] = digits[i >> 6];
            nsd_base64[i][1] = digits[i & 63];
        }
        for (int c = 0; c < 256; c++) {
            int escape = c == '"' || c == '\\\\' ? c : c == '\\n' ? 'n' : c == '\\r' ? 'r' : 0;
            nsd_text[c][0] = escape ? '\\\\' : c >= 32 && c < 127 ? (char)c : '.';
            nsd_text[c][1] = (char)escape;
            nsd_text_len[c] = escape ? 2 : 1;
        }
    }
    """
    const char nsd_pairs[201]
    const char nsd_hex[17]
    const char nsd_base64[4096][2]
    const char nsd_text[256][2]
    const uint8_t nsd_text_len[256]
    void nsd_fill() noexcept nogil


cdef inline uint8_t *lit(uint8_t *p, const char *text) noexcept nogil:
    """A literal; the compiler folds its length."""
    cdef size_t n = strlen(text)
    memcpy(p, text, n)
    return p + n


cdef inline uint8_t *put_bytes(uint8_t *p, const uint8_t *data, size_t n) noexcept nogil:
    """`n` bytes as they are; `data` may be NULL when n is 0."""
    if n:
        memcpy(p, data, n)
    return p + n


cdef inline uint8_t *put_uint(uint8_t *p, uint64_t value) noexcept nogil:
    """Decimal; room 20."""
    cdef uint8_t text[20]
    cdef size_t i = 20
    while value >= 100:
        i -= 2
        memcpy(&text[i], &nsd_pairs[2 * (value % 100)], 2)
        value //= 100
    if value >= 10:
        i -= 2
        memcpy(&text[i], &nsd_pairs[2 * value], 2)
    else:
        i -= 1
        text[i] = <uint8_t>(48 + value)
    memcpy(p, &text[i], 20 - i)
    return p + (20 - i)


cdef inline uint8_t *put_pair(uint8_t *p, uint32_t value) noexcept nogil:
    """Two decimal digits of a value below 100; room 2."""
    memcpy(p, &nsd_pairs[2 * value], 2)
    return p + 2


cdef inline uint8_t *put_hex(uint8_t *p, uint8_t value) noexcept nogil:
    """Two lower-case hexadecimal digits; room 2."""
    p[0] = <uint8_t>nsd_hex[value >> 4]
    p[1] = <uint8_t>nsd_hex[value & 15]
    return p + 2


cdef inline uint8_t *put_mac(uint8_t *p, const uint8_t *mac) noexcept nogil:
    """00:11:22:33:44:55; room 18."""
    cdef int i
    for i in range(6):
        p = put_hex(p, mac[i])
        p[0] = 58
        p += 1
    return p - 1


cdef inline uint8_t *put_address(uint8_t *p, const uint8_t *a, int version) noexcept nogil:
    """Dotted quad, or IPv6 as eight groups of four digits (the ecosystem's form, not
    RFC 5952's short one); room 40."""
    cdef int i
    if version == 4:
        for i in range(4):
            p = put_uint(p, a[i])
            p[0] = 46
            p += 1
        return p - 1
    for i in range(0, 16, 2):
        p = put_hex(p, a[i])
        p = put_hex(p, a[i + 1])
        p[0] = 58
        p += 1
    return p - 1


cdef inline uint8_t *put_time(uint8_t *p, uint64_t ts_ns) noexcept nogil:
    """2013-05-28T12:13:27.123456+0000 (UTC, truncated to microseconds); room 31.

    Days to civil date in eras of 400 years beginning on 1 March, so that leap days end
    their year and no table of month lengths is needed.
    """
    cdef uint64_t seconds = ts_ns // 1000000000
    cdef uint32_t micros = <uint32_t>((ts_ns % 1000000000) // 1000)
    cdef uint32_t days = <uint32_t>(seconds // 86400) + 719468   # since 0000-03-01
    cdef uint32_t rest = <uint32_t>(seconds % 86400)
    cdef uint32_t era = days // 146097
    cdef uint32_t doe = days - era * 146097
    cdef uint32_t yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    cdef uint32_t doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    cdef uint32_t mp = (5 * doy + 2) // 153
    cdef uint32_t day = doy - (153 * mp + 2) // 5 + 1
    cdef uint32_t month = mp + 3 if mp < 10 else mp - 9
    cdef uint32_t year = yoe + era * 400 + (1 if month <= 2 else 0)
    p = put_pair(p, year // 100)
    p = put_pair(p, year % 100)
    p[0] = 45
    p = put_pair(p + 1, month)
    p[0] = 45
    p = put_pair(p + 1, day)
    p[0] = 84
    p = put_pair(p + 1, rest // 3600)
    p[0] = 58
    p = put_pair(p + 1, rest // 60 % 60)
    p[0] = 58
    p = put_pair(p + 1, rest % 60)
    p[0] = 46
    p = put_pair(p + 1, micros // 10000)
    p = put_pair(p, micros // 100 % 100)
    p = put_pair(p, micros % 100)
    return lit(p, b"+0000")


cdef inline size_t base64_size(size_t n) noexcept nogil:
    return (n + 2) // 3 * 4


cdef inline uint8_t *put_base64(uint8_t *p, const uint8_t *data, size_t n) noexcept nogil:
    """RFC 4648 with padding; room base64_size(n). Needs nsd_fill."""
    cdef size_t i = 0
    cdef uint32_t v
    while i + 3 <= n:
        v = (<uint32_t>data[i] << 16) | (<uint32_t>data[i + 1] << 8) | data[i + 2]
        memcpy(p, &nsd_base64[v >> 12][0], 2)
        memcpy(p + 2, &nsd_base64[v & 4095][0], 2)
        p += 4
        i += 3
    if i < n:
        v = <uint32_t>data[i] << 16
        if i + 1 < n:
            v |= <uint32_t>data[i + 1] << 8
        memcpy(p, &nsd_base64[v >> 12][0], 2)
        p[2] = <uint8_t>nsd_base64[v & 4095][0] if i + 1 < n else 61
        p[3] = 61
        p += 4
    return p


cdef inline uint8_t *put_printable(uint8_t *p, const uint8_t *data, size_t n) noexcept nogil:
    """ASCII 0x20-0x7e, CR and LF as JSON text, every other byte as '.'; room 2 n + 1.
    Needs nsd_fill. Two characters are written each time and one or two kept, which spares
    a branch that payloads make unpredictable."""
    cdef size_t i
    for i in range(n):
        memcpy(p, &nsd_text[data[i]][0], 2)
        p += nsd_text_len[data[i]]
    return p
