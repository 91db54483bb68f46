"""The rule image as the packet path uses it: arrays, Hyperscan databases, PCRE2 programs.

`nsdata.rules.compile` makes the arrays; `RuleBase(image)` takes them over, builds what
Hyperscan and PCRE2 need, and is read-only from then on, so that it can be swapped while
traffic flows.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import itertools

import numpy as np

from nsdata.path.events cimport EV_COUNT
from nsdata.path.hs cimport *
from nsdata.path.pcre2 cimport *

_generations = itertools.count(1)


cdef object _dtype(list names, list formats, list offsets, size_t size):
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def dtypes() -> dict:
    """numpy dtypes of the image's arrays, laid out as the C structs: `rule`, `op`,
    `buffer`, `threshold`."""
    cdef Rule r
    cdef Op o
    cdef BufferCheck b
    cdef Threshold t
    cdef char *at
    result = {}
    memset(&r, 0, sizeof(Rule))
    memset(&o, 0, sizeof(Op))
    memset(&b, 0, sizeof(BufferCheck))
    memset(&t, 0, sizeof(Threshold))
    at = <char *> &r
    result["rule"] = _dtype(
        ["sid", "gid", "rev", "number", "action", "type", "priority", "n_vars", "flags",
         "protos", "src_set", "dst_set", "sport_set", "dport_set", "n_checks", "n_posts",
         "n_buffers", "check_at", "post_at", "buffer_at", "threshold"],
        ["u4", "u4", "u4", "u4", "u1", "u1", "u1", "u1", "u4", "u4", "u2", "u2", "u2", "u2",
         "u2", "u2", "u2", "u4", "u4", "u4", "u4"],
        [<char *> &r.sid - at, <char *> &r.gid - at, <char *> &r.rev - at,
         <char *> &r.number - at, <char *> &r.action - at, <char *> &r.type - at,
         <char *> &r.priority - at, <char *> &r.n_vars - at, <char *> &r.flags - at,
         <char *> &r.protos - at, <char *> &r.src_set - at, <char *> &r.dst_set - at,
         <char *> &r.sport_set - at, <char *> &r.dport_set - at, <char *> &r.n_checks - at,
         <char *> &r.n_posts - at, <char *> &r.n_buffers - at, <char *> &r.check_at - at,
         <char *> &r.post_at - at, <char *> &r.buffer_at - at, <char *> &r.threshold - at],
        sizeof(Rule))
    at = <char *> &o
    result["op"] = _dtype(
        ["kind", "cmp", "nbytes", "flags", "offset", "depth", "distance", "within", "data",
         "length", "a", "b", "c", "mask", "result"],
        ["u1", "u1", "u2", "u4", "i4", "i4", "i4", "i4", "u4", "u4", "i8", "i8", "i8", "u8",
         "u4"],
        [<char *> &o.kind - at, <char *> &o.cmp - at, <char *> &o.nbytes - at,
         <char *> &o.flags - at, <char *> &o.offset - at, <char *> &o.depth - at,
         <char *> &o.distance - at, <char *> &o.within - at, <char *> &o.data - at,
         <char *> &o.length - at, <char *> &o.a - at, <char *> &o.b - at, <char *> &o.c - at,
         <char *> &o.mask - at, <char *> &o.result - at],
        sizeof(Op))
    at = <char *> &b
    result["buffer"] = _dtype(
        ["buffer", "n_ops", "op_at"], ["u1", "u2", "u4"],
        [<char *> &b.buffer - at, <char *> &b.n_ops - at, <char *> &b.op_at - at],
        sizeof(BufferCheck))
    at = <char *> &t
    result["threshold"] = _dtype(
        ["kind", "track", "count", "seconds", "multiplier"], ["u1", "u1", "u4", "u4", "u4"],
        [<char *> &t.kind - at, <char *> &t.track - at, <char *> &t.count - at,
         <char *> &t.seconds - at, <char *> &t.multiplier - at],
        sizeof(Threshold))
    return result


cdef uint32_t _pcre_options(str flags) except? 0xFFFFFFFF:
    cdef uint32_t options = 0
    for letter in flags:
        if letter == "i":
            options |= PCRE2_CASELESS
        elif letter == "s":
            options |= PCRE2_DOTALL
        elif letter == "m":
            options |= PCRE2_MULTILINE
        elif letter == "x":
            options |= PCRE2_EXTENDED
        elif letter == "A":
            options |= PCRE2_ANCHORED
        elif letter == "E":
            options |= PCRE2_DOLLAR_ENDONLY
        elif letter == "G":
            options |= PCRE2_UNGREEDY
        else:
            raise ValueError(f"unknown PCRE flag {letter!r}")
    return options


cdef pcre2_code *_compile_pcre(bytes pattern, str flags) except NULL:
    cdef int code = 0
    cdef size_t offset = 0
    cdef uint8_t message[256]
    cdef pcre2_code *compiled = pcre2_compile(
        <const uint8_t *> PyBytes_AS_STRING(pattern), PyBytes_GET_SIZE(pattern),
        _pcre_options(flags), &code, &offset, NULL)
    if compiled == NULL:
        pcre2_get_error_message(code, message, sizeof(message))
        text = (<char *> message).decode("ascii", "replace")
        raise ValueError(f"{text} (at byte {offset} of the expression)")
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE)   # without JIT it still runs
    return compiled


def check_pcre(pattern: bytes, flags: str = "") -> None:
    """Raise ValueError with PCRE2's message and byte offset when `pattern` does not compile.

    `flags` are letters of `ismxAEG` as in the rule language.
    """
    pcre2_code_free(_compile_pcre(pattern, flags))


cdef class RuleBase:
    """A loaded rule image.

    `image` has these attributes (see nsdata/rules/compile.py): `rules`, `ops`, `buffers`,
    `thresholds` (structured arrays of `dtypes()`), `pool` (bytes), `lists` (uint32 array),
    `pcres` (list of (bytes, flags)), `groups` (list of objects with `patterns`, a list of
    (bytes, nocase, rule indices), and `always`, rule indices), `group_of` (uint16
    [CLASS_COUNT, 2, GROUP_KINDS, n_port_classes]), `port_class` (uint16 [65536]),
    `port_bits` (uint64 [n_port_classes, words]), `v4_starts`, `v4_class` (uint32),
    `v6_starts` (uint8 [n, 16]), `v6_class`, `addr_bits` (uint64 [classes, words]),
    `iponly` (uint32), `events` (mapping event bit -> rule indices), `n_flowbits`,
    `n_flowints`, `n_xbits`.

    Raises ValueError when an expression does not compile and MemoryError.
    """

    def __cinit__(self, image):
        self.groups = NULL
        self.pcres = NULL
        self.scratch = NULL
        self.n_groups = 0
        self.n_pcres = 0

    def __init__(self, image):
        kinds = dtypes()
        self.keep = []
        self.generation = next(_generations)
        rules = self._own(image.rules, kinds["rule"])
        self.n_rules = rules.shape[0]
        self.rules = <Rule *> self._address(rules)
        self.ops = <Op *> self._address(self._own(image.ops, kinds["op"]))
        self.buffers = <BufferCheck *> self._address(self._own(image.buffers, kinds["buffer"]))
        thresholds = self._own(image.thresholds, kinds["threshold"])
        self.n_thresholds = thresholds.shape[0]
        self.thresholds = <Threshold *> self._address(thresholds)
        pool = np.frombuffer(bytes(image.pool) + b"\0" * 16, dtype=np.uint8)
        self.keep.append(pool)
        self.pool = <const uint8_t *> self._address(pool)
        self.n_flowbits = image.n_flowbits
        self.n_flowints = image.n_flowints
        self.n_xbits = image.n_xbits

        lists = [np.asarray(image.lists, dtype=np.uint32)]
        used = lists[0].shape[0]
        self._build_groups(image, lists, used)
        self._build_ports(image)
        self._build_addresses(image)
        iponly = self._own(image.iponly, np.uint32)
        self.iponly = <const uint32_t *> self._address(iponly)
        self.n_iponly = iponly.shape[0]
        self._build_pcres(image.pcres)

    cdef object _own(self, array, dtype):
        owned = np.ascontiguousarray(array, dtype=dtype)
        self.keep.append(owned)
        return owned

    cdef size_t _address(self, array) except? 0:
        cdef size_t address = array.ctypes.data
        return address

    cdef int _build_groups(self, image, list lists, size_t used) except -1:
        cdef uint32_t number = 0
        self.n_groups = len(image.groups)
        self.specs = list(image.groups)
        self.groups = <Group *> calloc(max(1, self.n_groups), sizeof(Group))
        if self.groups == NULL:
            raise MemoryError
        rules_at = []
        hits = []       # rule lists, appended after the image's own lists
        for number, spec in enumerate(image.groups):
            self.groups[number].pattern_at = len(rules_at)
            self.groups[number].n_patterns = len(spec.patterns)
            for _, _, rules in spec.patterns:
                rules_at.append(used)
                hits.extend(rules)
                used += len(rules)
        rules_at.append(used)
        for number, spec in enumerate(image.groups):
            self.groups[number].always_at = used
            self.groups[number].n_always = len(spec.always)
            hits.extend(spec.always)
            used += len(spec.always)
        event_at = np.zeros(<int> EV_COUNT + 1, dtype=np.uint32)
        memset(self.event_mask, 0, sizeof(self.event_mask))
        for event in range(EV_COUNT):
            event_at[event] = used
            rules = image.events.get(event, ())
            hits.extend(rules)
            used += len(rules)
            if len(rules):
                self.event_mask[<uint32_t> event >> 6] |= <uint64_t> 1 << (<uint32_t> event & 63)
        event_at[EV_COUNT] = used
        lists.append(np.asarray(hits, dtype=np.uint32))
        self.lists = <const uint32_t *> self._address(
            self._own(np.concatenate(lists + [np.zeros(1, np.uint32)]), np.uint32))
        self.pattern_rules_at = <const uint32_t *> self._address(self._own(rules_at, np.uint32))
        self.event_at = <const uint32_t *> self._address(self._own(event_at, np.uint32))
        self.group_of = <const uint16_t *> self._address(self._own(image.group_of, np.uint16))
        for number, spec in enumerate(image.groups):
            if spec.patterns:
                self.groups[number].db = self._compile(spec.patterns, range(len(spec.patterns)))
        return 0

    cdef hs_database_t *_compile(self, patterns, numbers) except NULL:
        cdef size_t n = len(patterns)
        cdef size_t i
        cdef hs_database_t *db = NULL
        cdef hs_compile_error_t *error = NULL
        cdef const char **texts = <const char **> calloc(n, sizeof(char *))
        cdef unsigned *flags = <unsigned *> calloc(n, sizeof(unsigned))
        cdef unsigned *ids = <unsigned *> calloc(n, sizeof(unsigned))
        cdef size_t *lengths = <size_t *> calloc(n, sizeof(size_t))
        cdef bytes text
        cdef int status
        try:
            if texts == NULL or flags == NULL or ids == NULL or lengths == NULL:
                raise MemoryError
            for i in range(n):
                text = patterns[i][0]
                texts[i] = PyBytes_AS_STRING(text)
                lengths[i] = PyBytes_GET_SIZE(text)
                flags[i] = HS_FLAG_SINGLEMATCH | (HS_FLAG_CASELESS if patterns[i][1] else 0)
                ids[i] = <unsigned> numbers[i]
            with nogil:
                status = hs_compile_lit_multi(texts, flags, ids, lengths, <unsigned> n,
                                              HS_MODE_BLOCK, NULL, &db, &error)
            if status != HS_SUCCESS:
                message = "out of memory"
                if error != NULL:
                    message = error.message.decode("utf-8", "replace")
                    hs_free_compile_error(error)
                raise ValueError(f"Hyperscan: {message}")
            if hs_alloc_scratch(db, &self.scratch) != HS_SUCCESS:
                hs_free_database(db)
                raise MemoryError("Hyperscan scratch")
            return db
        finally:
            free(texts)
            free(flags)
            free(ids)
            free(lengths)

    cdef int _build_ports(self, image) except -1:
        self.port_class = <const uint16_t *> self._address(self._own(image.port_class, np.uint16))
        bits = self._own(image.port_bits, np.uint64)
        self.n_port_classes = bits.shape[0]
        self.port_words = bits.shape[1]
        self.port_bits = <const uint64_t *> self._address(bits)
        return 0

    cdef int _build_addresses(self, image) except -1:
        v4 = self._own(image.v4_starts, np.uint32)
        v6 = self._own(image.v6_starts, np.uint8)
        bits = self._own(image.addr_bits, np.uint64)
        if v4.shape[0] == 0 or v4[0] != 0 or v6.shape[0] == 0 or v6[0].any():
            raise ValueError("address intervals must begin at the lowest address")
        self.n_v4 = v4.shape[0]
        self.n_v6 = v6.shape[0]
        self.addr_words = bits.shape[1]
        self.v4_starts = <const uint32_t *> self._address(v4)
        self.v6_starts = <const uint8_t *> self._address(v6)
        self.v4_class = <const uint32_t *> self._address(self._own(image.v4_class, np.uint32))
        self.v6_class = <const uint32_t *> self._address(self._own(image.v6_class, np.uint32))
        self.addr_bits = <const uint64_t *> self._address(bits)
        return 0

    cdef int _build_pcres(self, pcres) except -1:
        self.pcres = <pcre2_code **> calloc(max(1, len(pcres)), sizeof(pcre2_code *))
        if self.pcres == NULL:
            raise MemoryError
        for pattern, flags in pcres:
            self.pcres[self.n_pcres] = _compile_pcre(pattern, flags)
            self.n_pcres += 1
        return 0

    def __dealloc__(self):
        cdef uint32_t i
        if self.groups != NULL:
            for i in range(self.n_groups):
                if self.groups[i].db != NULL:
                    hs_free_database(self.groups[i].db)
            free(self.groups)
        if self.pcres != NULL:
            for i in range(self.n_pcres):
                pcre2_code_free(self.pcres[i])
            free(self.pcres)
        if self.scratch != NULL:
            hs_free_scratch(self.scratch)

    def memory(self) -> dict:
        """Bytes used: `arrays` and `hyperscan` databases."""
        cdef uint32_t i
        cdef size_t size
        cdef size_t databases = 0
        for i in range(self.n_groups):
            if self.groups[i].db != NULL:
                hs_database_size(self.groups[i].db, &size)
                databases += size
        return {"arrays": sum(a.nbytes for a in self.keep), "hyperscan": databases}


cdef class Remainder:
    """What is left to search for in frames that the hardware found CLEAR.

    base: the rule image. covered: uint8 by source rule (Rule.number), 1 where a frame with
    the rule's pattern is never CLEAR. Build it before the engine runs: it needs Hyperscan's
    scratch of `base`. Raises ValueError when `covered` has too few rules, and MemoryError.
    """

    def __cinit__(self, RuleBase base not None, covered):
        cdef uint32_t g
        cdef const uint8_t[::1] known = np.ascontiguousarray(covered, dtype=np.uint8)
        cdef uint32_t i
        self.base = base
        for i in range(base.n_rules):
            if base.rules[i].number >= known.shape[0]:
                raise ValueError(f"{known.shape[0]} rules are said to be covered or not, but "
                                 f"the image has rule number {base.rules[i].number}")
        self.dbs = <hs_database_t **> calloc(max(1, base.n_groups), sizeof(hs_database_t *))
        if self.dbs == NULL:
            raise MemoryError
        for g, spec in enumerate(base.specs):
            left = [
                number for number, (_, _, rules) in enumerate(spec.patterns)
                if not all(known[base.rules[<uint32_t> rule].number] for rule in rules)
            ]
            if left:
                self.dbs[g] = base._compile([spec.patterns[number] for number in left], left)
                self.patterns += <uint32_t> len(left)
                self.groups += 1

    def __dealloc__(self):
        cdef uint32_t g
        if self.dbs != NULL:
            for g in range(self.base.n_groups):
                if self.dbs[g] != NULL:
                    hs_free_database(self.dbs[g])
            free(self.dbs)
