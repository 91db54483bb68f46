"""The one border between Python and the packet path.

`Engine.process` takes arrays that describe a batch of frames and runs without the GIL:
decode → bypass rules → queue → Inspector (defrag → flow → stream → detect → verdict). It gives
every frame one verdict and one line in the ledger, and stops early where its host has to
act: at the time or frame it was told, or when the ring of records has to be drained.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import numpy as np

from nsdata.errors import EngineError

from nsdata.path.bypass cimport first_match
from nsdata.path.decode cimport decode_frame
from nsdata.path.packet cimport *
from nsdata.path.prefilter cimport Prefilter
from nsdata.path.rulebase cimport Remainder

cdef extern from *:
    void __builtin_prefetch(const void *) nogil

cdef enum:
    PREFETCH = 8                      # frames ahead
    EXPIRE_EVERY_NS = 100000000       # packet time between two looks at the time-outs

cdef uint64_t NEVER = 0xFFFFFFFFFFFFFFFFULL
# The clock: frames may be out of order by less than JITTER. What is further back, or further
# ahead than LEAP, is a wrong or another clock: time goes on from where it was, and BASES such
# clocks are known at once, so that two that alternate both pass at their own pace.
cdef int64_t JITTER_NS = 1000000000
cdef int64_t LEAP_NS = <int64_t> 400 * 86400 * 1000000000
cdef uint64_t LATEST_NS = <uint64_t> 1 << 63


cdef bint _sound(uint8_t version, uint8_t prefix):
    return version == 0 or (version == 4 and prefix <= 32) or (version == 6 and prefix <= 128)


cdef class Engine:
    """The packet path with its state. Not thread-safe.

    base: the rule image. numbers: count of source rules (`Rule.number`).
    inline: drops take effect. checksums: validate them. alert_max: alerts per packet.
    drop_log_start: log only the first drop of a flow's direction. drop_invalid: inline, drop
    TCP packets that do not fit their session. policies: PolicyAction by Policy number
    (packet.pxd, inspector.pxd). hosts: (address bytes, prefix bits, overlap policy), at most
    64 networks. capacity_pps, queue: the modelled inspection capacity (0: none) and its queue
    in packets. bypass: array of bypass rules
    (nsdata.fallback.bypass_rules). flow, stream, defrag, records: keyword arguments of
    FlowTable, StreamTracker, Defrag and Records. seed: of the hashes. grace_s: how long
    after a fallback sessions may lack a handshake. Raises EngineError on misuse.
    """

    def __init__(self, RuleBase base not None, uint32_t numbers, *, bint inline=False,
                 bint checksums=True, uint32_t alert_max=15, bint drop_log_start=False,
                 bint drop_invalid=True, policies=None, hosts=None, double capacity_pps=0,
                 uint32_t queue=4096, bypass=None, flow=None, stream=None, defrag=None,
                 records=None, uint64_t seed=0, double grace_s=600):
        self.inspector = Inspector(
            base, numbers, inline=inline, checksums=checksums, alert_max=alert_max,
            drop_log_start=drop_log_start, drop_invalid=drop_invalid, policies=policies,
            hosts=hosts, flow=flow, stream=stream, defrag=defrag, records=records, seed=seed)
        self.records = self.inspector.records
        self.checksums = checksums
        if not 0 <= grace_s <= 1e9:
            raise EngineError(f"grace_s must be 0 to 1e9 seconds, not {grace_s}")
        self.grace_ns = <uint64_t> (grace_s * 1e9)
        if capacity_pps != 0 and not 1e-3 <= capacity_pps <= 1e9:
            raise EngineError(f"capacity must be 0.001 to 1e9 packets/s, not {capacity_pps}")
        if queue > 1 << 20:
            raise EngineError(f"the queue must hold at most 1,048,576 packets, not {queue}")
        if capacity_pps:
            self.service_ns = max(1, <uint64_t> (1e9 / capacity_pps + 0.5))
            self.queue_ns = self.service_ns * max(1, queue)
        if bypass is not None:
            self.set_bypass(bypass)

    def swap_rules(self, RuleBase base not None, uint32_t numbers) -> None:
        """Inspect with another image from the next frame on. Flows, streams, flowbits and
        thresholds live on, the counts per rule begin anew; drain the records of the old
        image first (EngineError)."""
        self._take()
        if self.records.n:
            raise EngineError("drain the records of the old rules before loading new ones")
        self.inspector.load(base, numbers, self.inspector.verdicts.alert_max)

    def set_bypass(self, rules) -> None:
        """Replace the inspection bypass rules at once (array of 64-byte records, ≤ 32)."""
        cdef const uint8_t[::1] raw
        cdef const BypassRule *r
        cdef int i
        self._take()
        array = np.ascontiguousarray(rules)
        if array.dtype.itemsize != sizeof(BypassRule) or array.shape[0] > MAX_BYPASS_RULES:
            raise EngineError(f"at most {MAX_BYPASS_RULES} bypass rules of "
                              f"{sizeof(BypassRule)} bytes each")
        if array.shape[0]:
            raw = array.view(np.uint8)
            for i in range(array.shape[0]):     # a longer prefix would read past an address
                r = <const BypassRule *> &raw[i * sizeof(BypassRule)]
                if not (_sound(r.src_version, r.src_prefix)
                        and _sound(r.dst_version, r.dst_prefix)):
                    raise EngineError(f"bypass rule {i}: an address is of version 4 with a prefix "
                                      "of at most 32, 6 with at most 128, or 0 (any)")
            memcpy(self.bypass, &raw[0], raw.shape[0])
        memset(self.bypass_hits, 0, sizeof(self.bypass_hits))
        self.n_bypass = array.shape[0]

    def set_offload(self, Prefilter prefilter, Remainder remainder=None, bint shunt=True,
                    bint shunt_dropped=False) -> None:
        """From the next frame on CLEAR means: searched by the hardware with `prefilter`'s table
        and its port ranges. None: CLEAR says nothing, every frame is searched.

        remainder: what is left to search for in CLEAR frames, of the rules loaded now. shunt:
        offer decided flows to the hardware's table (`shunts`), with shunt_dropped also dropped
        ones, inline. After `swap_rules` this has to be called anew. Raises EngineError.
        """
        self._take()
        if prefilter is not None and remainder is None:
            raise EngineError("set_offload needs the remainder of the rules with the prefilter")
        try:
            self.inspector.detector.set_remainder(None if prefilter is None else remainder)
        except ValueError as error:
            raise EngineError(str(error)) from error
        self.inspector.streams.set_filter(prefilter)
        self.inspector.shunts.on = prefilter is not None and shunt
        self.inspector.shunts.dropped = shunt_dropped and self.inspector.inline_mode

    def shunts(self) -> tuple:
        """(OFFER array, whether to flush the hardware's flow table instead): see Shunts.take."""
        self._take()
        return self.inspector.shunts.take()

    cdef object _take(self):
        """Refuse a second thread: the GIL is free while frames run."""
        if self.inspector is None:
            raise EngineError("the engine was not initialised: call Engine(base, numbers, …)")
        if self.busy:
            raise EngineError("the engine is running in another thread; give each its own engine")

    # --- the border ------------------------------------------------------------------

    def process(self, const uint8_t[::1] data, const uint64_t[::1] offset,
                const uint32_t[::1] caplen, const uint32_t[::1] wirelen,
                const uint64_t[::1] ts_ns, const uint16_t[::1] linktype,
                uint8_t[::1] verdict, Py_ssize_t start=0, uint64_t stop_ns=NEVER,
                uint64_t stop_frame=0, const uint8_t[::1] offload=None) -> int:
        """Run frames `start`… of a batch; returns the index of the first frame not taken.

        data: bytes; the other arrays have one element per frame: offset and captured bytes
        in `data`, bytes on the wire, capture time in ns, LINKTYPE_*. verdict[i] is written
        (Verdict) for every frame taken. Stops before a frame whose time is not below
        `stop_ns`, before frame number `stop_frame` (1-based over the run; 0: none), or when
        the records have to be drained; the host then acts and calls again.
        offload: what the hardware said of each frame (OffloadVerdict), or None: inspect all.
        CLEAR spares work only after `set_offload` with the image the hardware has.
        Raises EngineError when the arrays do not fit together.
        """
        cdef Py_ssize_t n = offset.shape[0]
        cdef Py_ssize_t i
        cdef uint64_t now
        cdef int base
        cdef uint64_t size = data.shape[0]
        cdef const uint8_t *bytes = &data[0] if size else NULL
        cdef const uint8_t *judged = NULL
        self._take()
        if not (caplen.shape[0] == wirelen.shape[0] == ts_ns.shape[0] == linktype.shape[0] == n
                and verdict.shape[0] >= n and 0 <= start <= n
                and (offload is None or offload.shape[0] == n)):
            raise EngineError("the arrays of a batch must have one element per frame")
        if offload is not None and n:
            judged = &offload[0]
        self.busy = True
        with nogil:
            i = start
            while i < n:
                if ts_ns[i] >= LATEST_NS:
                    break
                now = self._clock(ts_ns[i], &base)
                if now >= stop_ns or self.received + 1 == stop_frame:
                    break
                if offset[i] > size or caplen[i] > size - offset[i]:
                    break
                if not self.records.room():
                    break
                if not self.fallback:
                    if now >= self.expire_at_ns:
                        if not self.inspector.expire(now):
                            break
                        self.expire_at_ns = now + EXPIRE_EVERY_NS
                    if i + PREFETCH < n and offset[i + PREFETCH] < size:
                        __builtin_prefetch(bytes + offset[i + PREFETCH])
                self._tick(ts_ns[i], now, base)
                verdict[i] = <uint8_t> self._frame(bytes + offset[i], caplen[i], wirelen[i],
                                                   ts_ns[i], linktype[i],
                                                   OFFLOAD_SUSPECT if judged == NULL
                                                   else judged[i])
                if judged != NULL:
                    self.offload_count[judged[i] if judged[i] < OFFLOAD_COUNT
                                       else OFFLOAD_SUSPECT] += 1
                i += 1
        self.busy = False
        if i < n and ts_ns[i] >= LATEST_NS:
            raise EngineError(f"frame {i} of the batch: time {ts_ns[i]} ns is past the year 2262")
        if i < n and (offset[i] > size or caplen[i] > size - offset[i]):
            raise EngineError(f"frame {i} of the batch lies outside its data")
        return i

    def drain(self) -> None:
        """The host has taken the records; the ring is free again."""
        self._take()
        self.records.clear()

    def set_fallback(self, bint on) -> bool:
        """Enter or leave fallback from the next frame on; True when it is done.

        Entering ends every flow (what their streams still hold is inspected), since the
        engine will not see how they go on: while False is returned, drain and call again.
        After leaving, sessions without a handshake are no reason to drop for `grace_s`.
        """
        self._take()
        if on == self.fallback:
            return True
        if on:
            if not self.end_flows():
                return False
            self.fallback = True
        else:
            self.fallback = False
            self._grace()
            self.busy_until_ns = 0
        return True

    def end_flows(self) -> bool:
        """End all flows in the order they began (shutdown); False: drain and call again."""
        cdef bint done
        self._take()
        self.busy = True
        with nogil:
            done = self.inspector.end_flows()
        self.busy = False
        return done

    @property
    def in_fallback(self) -> bool:
        return self.fallback

    def counts(self) -> tuple:
        """(received packets, received bytes, packets by Why, bytes by Why)."""
        cdef int k
        return (self.received, self.received_bytes,
                [self.why_packets[k] for k in range(WHY_COUNT)],
                [self.why_bytes[k] for k in range(WHY_COUNT)])

    def rule_counts(self) -> dict:
        """uint64 arrays by source rule, since its image was loaded: `matched`, `alerted`,
        `dropped` packets."""
        self._take()
        return self.inspector.verdicts.per_rule()

    def drops(self) -> dict:
        """Packets dropped since the image was loaded, by source rule, where not zero."""
        self._take()
        return self.inspector.verdicts.drops()

    def rule_costs(self) -> dict:
        """uint64 arrays by source rule, since its image was loaded: packets it was `checked`
        against, packets of which it was `verified` in full, and `ns` it took (measured in a part of
        the packets, so a sample)."""
        self._take()
        return self.inspector.costs()

    def switch_rule(self, uint32_t number, bint on) -> None:
        """Source rule `number` matches nothing from the next frame on, or (on) does again; until
        other rules are loaded. Flows that it had dropped or passed stay so. Raises EngineError
        when there is no such rule."""
        self._take()
        self.inspector.switch_rule(number, on)

    def suspend_alerts(self, bint on) -> None:
        """From the next frame on alerts are counted and not written; rules act as before."""
        self._take()
        self.inspector.suspended = on

    def protection_counts(self) -> tuple:
        """(alerts that were not written, packets of which rules were verified in full, their
        bytes)."""
        return self.inspector.suspended_alerts, self.verified_packets, self.verified_bytes

    def bypass_counts(self) -> list:
        """Hits of each bypass rule."""
        cdef int k
        return [self.bypass_hits[k] for k in range(self.n_bypass)]

    def stats(self) -> dict:
        """Counters of every stage."""
        self._take()
        cdef int k
        return dict(self.inspector.stats(),
                    clock_faults=self.clock_faults,
                    offload=[self.offload_count[k] for k in range(OFFLOAD_COUNT)],
                    shunts=self.inspector.shunts.stats(),
                    verdicts=[self.verdict_count[k] for k in range(VERDICT_COUNT)])

    @property
    def clock_ns(self) -> int:
        """The engine's time after the frames taken; 0 before the first."""
        return self.now_ns

    def clock_at(self, uint64_t ts_ns) -> int:
        """What the engine's time will be when the next frame is stamped `ts_ns`."""
        cdef int base
        return self._clock(ts_ns, &base)

    # --- one frame -------------------------------------------------------------------

    cdef uint64_t _clock(self, uint64_t ts_ns, int *base) noexcept nogil:
        """The time of a frame stamped `ts_ns`, and the base (of `shifts`) that gives it;
        base -1: a new one. Never back, never past LATEST_NS."""
        cdef int64_t ahead
        cdef int64_t other
        cdef int k
        base[0] = -1
        if self.received == 0:
            return ts_ns
        ahead = <int64_t> (ts_ns + self.shifts[self.base] - self.now_ns)
        if not -JITTER_NS < ahead < JITTER_NS:
            # another clock may be the one that was in use before
            for k in range(BASES):
                other = <int64_t> (ts_ns + self.shifts[k] - self.now_ns)
                if -JITTER_NS < other < JITTER_NS:
                    base[0] = k
                    return self.now_ns + <uint64_t> (other if other > 0 else 0)
        if ahead <= -JITTER_NS:
            return self.now_ns
        if ahead > LEAP_NS:
            ahead = LEAP_NS
        else:
            base[0] = self.base
        if ahead <= 0:
            return self.now_ns
        if self.now_ns + <uint64_t> ahead >= LATEST_NS:
            base[0] = -1
            return self.now_ns + 1000
        return self.now_ns + <uint64_t> ahead

    cdef void _tick(self, uint64_t ts_ns, uint64_t now, int base) noexcept nogil:
        """A frame stamped `ts_ns` is taken at `now` by `base` (of `_clock`)."""
        if base < 0:
            self.base = (self.base + 1) % BASES
            self.shifts[self.base] = now - ts_ns
            self.clock_faults += self.received != 0
        else:
            self.base = base
        self.now_ns = now

    cdef void _grace(self) noexcept nogil:
        """Frames passed unseen: for a while sessions may lack a handshake."""
        self.inspector.grace_until_ns = self.now_ns + self.grace_ns

    cdef bint _admit(self, uint64_t ts_ns) noexcept nogil:
        """Whether the modelled inspection queue takes a packet that arrives now."""
        if self.busy_until_ns < ts_ns:
            self.busy_until_ns = ts_ns
        if self.busy_until_ns - ts_ns >= self.queue_ns:
            return False
        self.busy_until_ns += self.service_ns
        return True

    cdef int _book(self, int why, int verdict, uint32_t wirelen) noexcept nogil:
        """One line in the ledger; returns the verdict."""
        self.why_packets[why] += 1
        self.why_bytes[why] += wirelen
        self.verdict_count[verdict] += 1
        return verdict

    cdef int _frame(self, const uint8_t *data, uint32_t caplen, uint32_t wirelen, uint64_t ts_ns,
                    uint16_t linktype, int judged) noexcept nogil:
        """The verdict of a frame; `judged`: what the hardware said of it (OffloadVerdict)."""
        cdef FrameState *s = &self.inspector.frame
        cdef Packet *p = self.inspector.layers
        cdef int n
        cdef int k
        self.received += 1
        self.received_bytes += wirelen
        if judged == OFFLOAD_BLOCK:       # gone, whatever is thought of it here
            return self._book(WHY_OFFLOAD_BLOCK, VERDICT_DROP, wirelen)
        if self.fallback:
            return self._book(WHY_FALLBACK, VERDICT_PASS, wirelen)
        if judged == OFFLOAD_FAULT:
            # its session goes on without it, as after a fallback
            self._grace()
            return self._book(WHY_OFFLOAD_FAULT, VERDICT_PASS, wirelen)
        n = decode_frame(data, caplen, wirelen, linktype, self.checksums, p, MAX_LAYERS)
        if self.n_bypass:
            k = first_match(self.bypass, self.n_bypass, p)
            if k >= 0:
                self.bypass_hits[k] += 1
                if self.bypass[k].action:
                    p.ts_ns = ts_ns
                    p.now_ns = self.now_ns
                    p.frame_no = self.received
                    self.inspector.blocked_by_bypass(p)
                    return self._book(WHY_BYPASS_RULE_BLOCK, VERDICT_DROP, wirelen)
                return self._book(WHY_BYPASS_RULE, VERDICT_PASS, wirelen)
        if self.service_ns and not self._admit(self.now_ns):
            return self._book(WHY_OVERSUBSCRIBED, VERDICT_LOST, wirelen)
        for k in range(n):
            p[k].ts_ns = ts_ns
            p[k].now_ns = self.now_ns
            p[k].frame_no = self.received
        if judged == OFFLOAD_CLEAR:
            p.flags |= PKT_CLEAR          # of the outermost layer: what it carries was not parsed
        elif judged == OFFLOAD_BYPASS:
            p.flags |= PKT_SHUNTED
        self.inspector.run(p, n)
        if s.verified:
            self.verified_packets += 1
            self.verified_bytes += wirelen
        if s.dropped:
            return self._book(s.why, s.verdict, wirelen)
        if s.inspected or s.skipped == 0:
            return self._book(WHY_INSPECTED, s.verdict, wirelen)
        return self._book(s.skipped, s.verdict, wirelen)
