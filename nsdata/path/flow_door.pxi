# The door for tests and for trying things out. Included by flow.pyx.

cdef int fill(Packet *p, dict d) except -1:
    cdef bytes a
    memset(p, 0, sizeof(Packet))
    a = ipaddress.ip_address(d.get("src", "10.0.0.1")).packed
    memcpy(p.src, PyBytes_AS_STRING(a), len(a))
    p.ip_version = d.get("ip_version", 4 if len(a) == 4 else 6)
    a = ipaddress.ip_address(d.get("dst", "10.0.0.2")).packed
    memcpy(p.dst, PyBytes_AS_STRING(a), len(a))
    p.sport = d.get("sport", 0)
    p.dport = d.get("dport", 0)
    p.proto = d.get("proto", 17)
    p.ts_ns = p.now_ns = int(d.get("ts", 0) * 1_000_000_000)
    p.wirelen = d.get("wirelen", 60)
    p.ip_len = d.get("ip_len", 46)
    p.layer = d.get("layer", 0)
    p.flags = d.get("flags", 0)
    p.tcp_flags = d.get("tcp_flags", 0)
    p.seq = d.get("seq", 0)
    for tag in d.get("vlan", ()):
        p.vlan[p.n_vlan] = tag
        p.n_vlan += 1
    p.icmp_type = d.get("icmp_type", 0)
    p.icmp_code = d.get("icmp_code", 0)
    p.icmp_id = d.get("icmp_id", 0)
    quoted = d.get("quoted")
    if quoted is not None:                # (src, dst, proto, sport, dport)
        p.flags |= PKT_ICMP_ERROR
        a = ipaddress.ip_address(quoted[0]).packed
        memcpy(p.icmp_inner_src, PyBytes_AS_STRING(a), len(a))
        a = ipaddress.ip_address(quoted[1]).packed
        memcpy(p.icmp_inner_dst, PyBytes_AS_STRING(a), len(a))
        p.icmp_inner_proto = quoted[2]
        p.icmp_inner_sport = quoted[3]
        p.icmp_inner_dport = quoted[4]
    return 0


def run(packets, FlowTable table=None, *, evict=True, finish=True) -> list:
    """Drive a table with packets as dicts, the way the engine does, and tell what happened.

    Keys (all optional): ts (s), src, dst, sport, dport, proto, wirelen, layer, vlan, flags,
    tcp_flags, seq, icmp_type, icmp_code, icmp_id, quoted; `set` = dict of state, tcp_state,
    flags and isn to put on the flow afterwards, as stream and detect would. One dict per
    packet: flow_id (0: none), dir, established, state, packets, bytes, ended = [(id, cause)].
    With `finish` a last dict holds what lived until the end.
    """
    cdef Packet p
    cdef Flow *f
    if table is None:
        table = FlowTable()
    result = []
    for d in packets:
        fill(&p, d)
        ended = []
        f = table.timed_out(p.ts_ns)
        while f != NULL:
            ended.append((f.id, ENDS[f.end]))
            table.release(f)
            f = table.timed_out(p.ts_ns)
        f = table.lookup(&p)
        if f != NULL and table.reuse(&p, f):
            ended.append((f.id, ENDS[f.end]))
            table.release(f)
            f = table.lookup(&p)
        elif f == NULL and evict and table.wants(&p):
            f = table.oldest()
            ended.append((f.id, ENDS[f.end]))
            table.release(f)
            f = table.lookup(&p)
        out = {"flow_id": 0, "ended": ended}
        if f != NULL:
            out.update(
                flow_id=f.id, dir=p.dir, established=bool(p.flags & PKT_ESTABLISHED),
                state=STATES[f.state], packets=(f.packets[0], f.packets[1]),
                bytes=(f.bytes[0], f.bytes[1]), tcp_flags=(f.tcp_flags[0], f.tcp_flags[1]),
                first=f.first_ns / 1e9, last=f.last_ns / 1e9, index=p.flow,
            )
            after = d.get("set", {})
            f.state = after.get("state", f.state)
            f.tcp_state = after.get("tcp_state", f.tcp_state)
            f.flags |= after.get("flags", 0)
            f.isn = after.get("isn", f.isn)
        result.append(out)
    if finish:
        ended = []
        f = table.any()
        while f != NULL:
            ended.append((f.id, ENDS[f.end]))
            table.release(f)
            f = table.any()
        result.append({"flow_id": 0, "ended": ended})
    return result
