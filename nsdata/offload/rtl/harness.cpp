// See harness.h. One object of this file per build of nsd_top: DATA_W is that of the build.
#include "harness.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "Vnsd.h"
#include "signals.h"
#include "verilated.h"

double sc_time_stamp() { return 0; }

namespace {

constexpr uint32_t LANES = DATA_W / 8;
constexpr uint64_t FULL = LANES == 64 ? ~0ull : (1ull << (LANES % 64)) - 1;
constexpr uint64_t QUIET = 4096;  // cycles without a beat after which the block holds nothing
constexpr uint64_t HUSH = 64;     // ... and after which it is worth asking it
constexpr uint32_t BUS_LIMIT = 1000;
constexpr uint32_t STATUS = 0x024, STATE_MASK = 7, ARMED = 2, DRAINED = 1u << 5;

// xorshift64*: fast, and the same on every machine.
struct Random {
    uint64_t state;
    explicit Random(uint64_t seed) : state(seed * 0x9E3779B97F4A7C15ull + 0xD1B54A32D192ED03ull) {
        if (!state) state = 1;
    }
    uint64_t next() {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        return state * 0x2545F4914F6CDD1Dull;
    }
    uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 32) * n >> 32); }
};

// Says in which cycles an agent holds back.
struct Schedule {
    uint32_t p = 0, burst = 1, left = 0;
    bool hold(Random &random) {
        if (left) return --left, true;
        if (!p || (random.next() >> 48) >= p) return false;
        left = burst > 1 ? random.below(burst) : 0;
        return true;
    }
};

struct Beat {
    alignas(8) uint8_t data[LANES];
    uint64_t keep;
    uint8_t last, user;
    bool operator==(const Beat &o) const {
        return keep == o.keep && last == o.last && user == o.user &&
               !std::memcmp(data, o.data, LANES);
    }
};

struct Frame {
    std::shared_ptr<std::vector<uint8_t>> store;
    const uint8_t *data;
    uint32_t length;
    bool may_drop;
    nsd_result result;
};

uint64_t keep_of(uint32_t bytes) { return bytes >= LANES ? FULL : (1ull << bytes) - 1; }

}  // namespace

struct nsd {
    VerilatedContext context;
    Vnsd top;
    Random random;
    Schedule idle, pause;
    uint64_t cycle = 0, beats_in = 0, last_beat = 0;
    std::string error;

    std::deque<Frame> frames;  // fate not collected; [0, done) known, [done, ...) pending
    size_t done = 0;           // frames at the front whose fate is known
    size_t sending = 0;        // index of the frame the source works on
    uint32_t sent = 0;         // its bytes accepted
    bool valid = false;        // s_axis_tvalid

    std::vector<uint8_t> arriving;  // bytes of the frame that is coming out
    uint64_t arriving_first = 0;
    uint8_t arriving_open = 0, arriving_mark = 0;
    bool arriving_any = false;
    bool waiting = false;  // m_axis: a beat was held out and not taken
    Beat waiting_beat{};
    bool keep = false;
    std::vector<uint8_t> kept;

    std::vector<nsd_signals::Hold> holds;

    // Outputs as they stood before the last rising edge.
    bool awready = false, wready = false, bvalid = false, arready = false, rvalid = false;
    uint8_t bresp = 0, rresp = 0;
    uint32_t rdata = 0;

    // Uninitialised registers start at random: the context must know before the model is made.
    static VerilatedContext *seeded(VerilatedContext &context, uint64_t seed) {
        Verilated::threadContextp(&context);
        context.randReset(2);
        context.randSeed(static_cast<int>(seed % 0x7FFFFFFE) + 1);
        return &context;
    }

    explicit nsd(uint64_t seed) : top(seeded(context, seed)), random(seed) {
        std::memset(&top.s_axis_tdata, 0, LANES);
        top.rst = 1;
        top.s_axis_tkeep = 0;
        top.s_axis_tvalid = top.s_axis_tlast = top.s_axis_tuser = top.m_axis_tready = 0;
        top.s_axil_awvalid = top.s_axil_wvalid = top.s_axil_arvalid = 0;
        top.s_axil_bready = top.s_axil_rready = 0;
        top.seu_in = top.over_temp_in = 0;
    }

    void fail(const char *format, ...) __attribute__((format(printf, 2, 3))) {
        if (!error.empty()) return;
        char text[300];
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        error = text;
        error += " (cycle " + std::to_string(cycle) + ")";
    }

    // --- the source: present a beat, or nothing

    void present() {
        if (valid) return;
        if (sending >= frames.size() || idle.hold(random)) return;
        const Frame &frame = frames[sending];
        uint32_t bytes = std::min(frame.length - sent, LANES);
        auto *wires = reinterpret_cast<uint8_t *>(&top.s_axis_tdata);
        std::memcpy(wires, frame.data + sent, bytes);
        // What is beyond tkeep is the last beat's, as on a real bus.
        top.s_axis_tkeep = keep_of(bytes);
        top.s_axis_tlast = sent + bytes == frame.length;
        top.s_axis_tuser = frame.result.mark;
        top.s_axis_tvalid = 1;
        valid = true;
    }

    void accepted() {
        Frame &frame = frames[sending];
        if (!sent) frame.result.in_first = cycle;
        beats_in++;
        last_beat = cycle;
        sent += std::min(frame.length - sent, LANES);
        if (sent == frame.length) {
            frame.result.in_last = cycle;
            sent = 0;
            sending++;
        }
        valid = false;
        top.s_axis_tvalid = 0;
    }

    // --- the sink: judge what comes out

    Beat out_beat() const {
        Beat beat;
        std::memcpy(beat.data, &top.m_axis_tdata, LANES);
        beat.keep = top.m_axis_tkeep;
        beat.last = top.m_axis_tlast;
        beat.user = top.m_axis_tuser;
        return beat;
    }

    void watch() {
        if (!top.m_axis_tvalid) {
            if (waiting) fail("m_axis_tvalid fell before tready");
            waiting = false;
            return;
        }
        Beat beat = out_beat();
        if (waiting && !(beat == waiting_beat)) fail("m_axis changed before tready");
        waiting = !top.m_axis_tready;
        if (waiting) {
            waiting_beat = beat;
            return;
        }
        last_beat = cycle;
        if (!arriving_any) {
            arriving_first = cycle;
            arriving_open = 0;
            arriving_mark = beat.user >> 3;
        }
        arriving_any = true;
        if ((beat.user >> 3) != arriving_mark) fail("the MAC's mark changed within a frame");
        uint32_t bytes = static_cast<uint32_t>(__builtin_popcountll(beat.keep));
        if (beat.keep != keep_of(bytes) || (!beat.last && bytes != LANES) || !bytes)
            fail("m_axis_tkeep %llx, tlast %d", static_cast<unsigned long long>(beat.keep),
                 beat.last);
        arriving.insert(arriving.end(), beat.data, beat.data + bytes);
        if (!beat.last) {
            arriving_open |= static_cast<uint8_t>(1u << (beat.user & 7));
            return;
        }
        settle(beat.user & 7);
        arriving.clear();
        arriving_any = false;
    }

    // A whole frame has come out: it is the first pending one, past those that may be dropped.
    void settle(uint8_t verdict) {
        size_t at = done;
        while (at < sending && !same(frames[at]) && frames[at].may_drop) at++;
        if (at >= sending || !same(frames[at])) {
            fail("a frame of %zu bytes came out that is not the next one (frame of %u bytes)",
                 arriving.size(), done < frames.size() ? frames[done].length : 0);
            return;
        }
        for (; done < at; done++) drop(frames[done]);
        nsd_result &result = frames[done].result;
        result.out_first = arriving_first;
        result.out_last = cycle;
        result.fate = NSD_OUT;
        result.verdict = verdict;
        result.open = arriving_open;
        if (keep) kept.insert(kept.end(), arriving.begin(), arriving.end());
        done++;
    }

    bool same(const Frame &frame) const {
        return frame.length == arriving.size() && frame.result.mark == arriving_mark &&
               !std::memcmp(frame.data, arriving.data(), frame.length);
    }

    void drop(Frame &frame) {
        frame.result.fate = NSD_DROPPED;
        frame.result.verdict = 4;
        frame.result.out_first = frame.result.out_last = cycle;
    }

    // --- one cycle

    void tick() {
        present();
        top.m_axis_tready = !pause.hold(random);
        top.clk = 0;
        top.eval();
        if (!top.rst) {
            watch();
            if (valid && top.s_axis_tready) {
                // The beat's wires must stand until the edge: only the book-keeping is done here.
                accept_pending = true;
            }
        }
        awready = top.s_axil_awready;
        wready = top.s_axil_wready;
        bvalid = top.s_axil_bvalid;
        bresp = top.s_axil_bresp;
        arready = top.s_axil_arready;
        rvalid = top.s_axil_rvalid;
        rresp = top.s_axil_rresp;
        rdata = top.s_axil_rdata;
        top.clk = 1;
        top.eval();
        for (const nsd_signals::Hold &hold : holds) hold.apply();
        if (accept_pending) {
            accepted();
            accept_pending = false;
        }
        cycle++;
    }
    bool accept_pending = false;

    int status() const { return error.empty() ? 0 : NSD_E_SCORE; }

    void reset(uint32_t cycles) {
        size_t begun = sending + (sent || valid ? 1 : 0);
        for (size_t i = done; i < std::min(begun, frames.size()); i++)
            frames[i].result.fate = NSD_CANCELLED;
        done = sending = std::min(begun, frames.size());
        sent = 0;
        valid = waiting = arriving_any = false;
        arriving.clear();
        top.rst = 1;
        top.s_axis_tvalid = 0;
        top.s_axil_awvalid = top.s_axil_wvalid = top.s_axil_arvalid = 0;
        top.s_axil_bready = top.s_axil_rready = 0;
        Schedule kept_idle = idle;
        idle = {65536, 1, 0};  // nothing is presented during reset
        for (uint32_t i = 0; i < cycles; i++) tick();
        idle = kept_idle;
        top.rst = 0;
    }

    int write(uint32_t address, uint32_t value) {
        top.s_axil_awaddr = address;
        top.s_axil_awprot = 0;
        top.s_axil_wdata = value;
        top.s_axil_wstrb = 15;
        top.s_axil_awvalid = top.s_axil_wvalid = top.s_axil_bready = 1;
        for (uint32_t i = 0; i < BUS_LIMIT; i++) {
            tick();
            if (top.s_axil_awvalid && awready) top.s_axil_awvalid = 0;
            if (top.s_axil_wvalid && wready) top.s_axil_wvalid = 0;
            if (bvalid) {
                top.s_axil_bready = 0;
                return bresp ? NSD_E_BUS : 0;
            }
        }
        return NSD_E_TIMEOUT;
    }

    int read(uint32_t address, uint32_t *value) {
        top.s_axil_araddr = address;
        top.s_axil_arprot = 0;
        top.s_axil_arvalid = top.s_axil_rready = 1;
        for (uint32_t i = 0; i < BUS_LIMIT; i++) {
            tick();
            if (top.s_axil_arvalid && arready) top.s_axil_arvalid = 0;
            if (rvalid) {
                top.s_axil_rready = 0;
                *value = rdata;
                return rresp ? NSD_E_BUS : 0;
            }
        }
        return NSD_E_TIMEOUT;
    }

    // Whether nothing will come out any more: long silence, or a short one after which an armed
    // block says that no inspected frame is inside (a frame it drops leaves no other trace).
    bool quiet() {
        if (valid || arriving_any || waiting || cycle - last_beat <= HUSH) return false;
        if (cycle - last_beat > QUIET) return true;
        if (cycle - last_beat != HUSH + 1) return false;
        uint32_t status;
        if (read(STATUS, &status) || cycle - last_beat <= HUSH) return false;
        return (status & STATE_MASK) == ARMED && (status & DRAINED);
    }

    int drain(uint32_t pending, uint64_t limit) {
        for (uint64_t end = cycle + limit; frames.size() - done > pending; tick()) {
            if (!error.empty()) return NSD_E_SCORE;
            if (cycle >= end) return NSD_E_TIMEOUT;
            if (pending == 0 && sending == frames.size() && quiet()) {
                while (done < frames.size() && frames[done].may_drop) drop(frames[done++]);
                if (done < frames.size()) fail("frame of %u bytes lost", frames[done].length);
            }
        }
        return status();
    }
};

extern "C" {

nsd_t *nsd_new(uint64_t seed) { return new nsd(seed); }
void nsd_free(nsd_t *b) {
    // Public signals take themselves off the list of the thread's context.
    Verilated::threadContextp(&b->context);
    b->top.final();
    delete b;
    Verilated::threadContextp(Verilated::defaultContextp());
}
uint32_t nsd_data_w(void) { return DATA_W; }
void nsd_reset(nsd_t *b, uint32_t cycles) { b->reset(cycles); }
void nsd_idle(nsd_t *b, uint32_t p, uint32_t burst) { b->idle = {p, burst, 0}; }
void nsd_pause(nsd_t *b, uint32_t p, uint32_t burst) { b->pause = {p, burst, 0}; }

int nsd_feed(nsd_t *b, const uint8_t *data, const uint64_t *offset, const uint32_t *length,
             const uint8_t *mark, const uint8_t *may_drop, uint32_t count) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) total += length[i];
    auto store = std::make_shared<std::vector<uint8_t>>(total);
    uint8_t *at = store->data();
    for (uint32_t i = 0; i < count; i++) {
        if (!length[i]) return NSD_E_SCORE;
        std::memcpy(at, data + offset[i], length[i]);
        Frame frame{store, at, length[i], may_drop && may_drop[i], {}};
        frame.result.length = length[i];
        frame.result.mark = mark ? mark[i] & 1 : 0;
        b->frames.push_back(std::move(frame));
        at += length[i];
    }
    return b->status();
}

int nsd_run(nsd_t *b, uint64_t cycles) {
    for (uint64_t i = 0; i < cycles && b->error.empty(); i++) b->tick();
    return b->status();
}
int nsd_drain(nsd_t *b, uint32_t pending, uint64_t limit) { return b->drain(pending, limit); }
int nsd_exchange(nsd_t *b, const uint8_t *data, const uint64_t *offset, const uint32_t *length,
                 uint32_t count, uint64_t limit, uint8_t *verdict, uint32_t *accounted) {
    size_t before = b->frames.size();
    *accounted = 0;
    if (before) return b->fail("frames are pending already"), NSD_E_SCORE;
    int code = nsd_feed(b, data, offset, length, nullptr, nullptr, count);
    if (code) return code;
    for (Frame &frame : b->frames) frame.may_drop = true;
    code = b->drain(0, limit);
    *accounted = static_cast<uint32_t>(b->done);
    for (uint32_t i = 0; i < *accounted; i++) verdict[i] = b->frames[i].result.verdict;
    b->frames.erase(b->frames.begin(), b->frames.begin() + *accounted);
    b->sending -= b->done;
    b->done = 0;
    return code;
}
uint64_t nsd_cycle(const nsd_t *b) { return b->cycle; }
uint32_t nsd_pending(const nsd_t *b) { return static_cast<uint32_t>(b->frames.size() - b->done); }
uint64_t nsd_beats_in(const nsd_t *b) { return b->beats_in; }

uint32_t nsd_collect(nsd_t *b, struct nsd_result *results, uint32_t most) {
    uint32_t count = static_cast<uint32_t>(std::min<size_t>(most, b->done));
    for (uint32_t i = 0; i < count; i++) {
        results[i] = b->frames.front().result;
        b->frames.pop_front();
    }
    b->done -= count;
    b->sending -= count;
    return count;
}

void nsd_keep(nsd_t *b, int keep) { b->keep = keep; }
uint64_t nsd_fetch(nsd_t *b, uint8_t *bytes, uint64_t room) {
    uint64_t held = b->kept.size();
    if (held <= room) {
        std::memcpy(bytes, b->kept.data(), held);
        b->kept.clear();
    }
    return held;
}

int nsd_write(nsd_t *b, uint32_t address, uint32_t value) { return b->write(address, value); }
int nsd_read(nsd_t *b, uint32_t address, uint32_t *value) { return b->read(address, value); }
void nsd_pins(nsd_t *b, uint32_t pins) {
    b->top.seu_in = pins & 1;
    b->top.over_temp_in = pins >> 1 & 1;
}
uint32_t nsd_outputs(const nsd_t *b) {
    return static_cast<uint32_t>(b->top.irq | b->top.heartbeat_out << 1);
}
int nsd_signal(nsd_t *b, const char *scope, const char *name) {
    nsd_signals::Signal found = nsd_signals::find(b->context, scope, name);
    return found.at ? static_cast<int>(found.size) : NSD_E_SIGNAL;
}
int nsd_peek(nsd_t *b, const char *scope, const char *name, uint32_t entry, uint8_t *bytes) {
    nsd_signals::Signal found = nsd_signals::find(b->context, scope, name);
    if (entry >= found.entries) return NSD_E_SIGNAL;
    std::memcpy(bytes, found.at + size_t{entry} * found.size, found.size);
    return 0;
}
int nsd_poke(nsd_t *b, const char *scope, const char *name, uint32_t entry, const uint8_t *bytes) {
    nsd_signals::Signal found = nsd_signals::find(b->context, scope, name);
    if (entry >= found.entries) return NSD_E_SIGNAL;
    std::memcpy(found.at + size_t{entry} * found.size, bytes, found.size);
    return 0;
}
int nsd_hold(nsd_t *b, const char *scope, const char *name, const uint8_t *map) {
    nsd_signals::Hold hold{nsd_signals::find(b->context, scope, name), {}, {}};
    if (hold.signal.entries != 1 || (map && hold.signal.size != 1)) return NSD_E_SIGNAL;
    nsd_let_go(b, scope, name);
    if (map)
        std::memcpy(hold.map, map, sizeof hold.map);
    else
        hold.kept.assign(hold.signal.at, hold.signal.at + hold.signal.size);
    b->holds.push_back(hold);
    return 0;
}
int nsd_let_go(nsd_t *b, const char *scope, const char *name) {
    nsd_signals::Signal found = nsd_signals::find(b->context, scope, name);
    auto here = [&](const nsd_signals::Hold &hold) { return hold.signal.at == found.at; };
    b->holds.erase(std::remove_if(b->holds.begin(), b->holds.end(), here), b->holds.end());
    return found.at ? 0 : NSD_E_SIGNAL;
}
const char *nsd_error(const nsd_t *b) { return b->error.c_str(); }
}
