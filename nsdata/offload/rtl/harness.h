/* The Verilated block (nsd_top) driven in process: frames in, frames and verdicts out, registers.
 *
 * One clock; every function that takes time runs the whole block, so frames go on flowing while
 * a register is read. A source keeps tvalid until tready; a sink takes beats; both hold back by a
 * seeded random schedule. A scoreboard sees that no frame is lost, made, reordered or changed.
 *
 * Functions return 0, or a negative code; nsd_error() says the first thing that was wrong.
 */
#ifndef NSD_HARNESS_H
#define NSD_HARNESS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NSD_E_BUS (-1)     /* the register bus answered SLVERR or DECERR */
#define NSD_E_TIMEOUT (-2) /* no answer, or frames left when the cycles ran out */
#define NSD_E_SCORE (-3)   /* the scoreboard has found a breach: nsd_error() */
#define NSD_E_SIGNAL (-4)  /* no such signal in this build */

enum nsd_fate { NSD_PENDING = 0, NSD_OUT = 1, NSD_DROPPED = 2, NSD_CANCELLED = 3 };

/* One frame's way through. Cycles count from nsd_new. */
struct nsd_result {
    uint64_t in_first;  /* its first beat was accepted */
    uint64_t in_last;   /* its last beat was accepted */
    uint64_t out_first; /* its first beat was handed over; dropped: when that was seen */
    uint64_t out_last;  /* its last beat was handed over */
    uint32_t length;    /* bytes */
    uint8_t fate;       /* nsd_fate */
    uint8_t verdict;    /* tuser[2:0] on tlast; dropped: 4 */
    uint8_t open;       /* bit v set: tuser[2:0] was v on a beat before the last */
    uint8_t mark;       /* the MAC's mark, as given */
};

typedef struct nsd nsd_t;

nsd_t *nsd_new(uint64_t seed);
void nsd_free(nsd_t *block);
uint32_t nsd_data_w(void);

/* Reset for `cycles`. Frames not yet out are CANCELLED, those not begun stay queued. */
void nsd_reset(nsd_t *block, uint32_t cycles);

/* Hold the source (idle) or the sink (pause) back: with probability p/65536 per cycle, for 1 to
 * `burst` cycles. */
void nsd_idle(nsd_t *block, uint32_t p, uint32_t burst);
void nsd_pause(nsd_t *block, uint32_t p, uint32_t burst);

/* Queue `count` frames, copied: frame i is length[i] (>= 1) bytes of data at offset[i].
 * mark: the MAC's bad-frame bit, may be NULL. may_drop: the frame may be dropped, NULL = none. */
int nsd_feed(nsd_t *block, const uint8_t *data, const uint64_t *offset, const uint32_t *length,
             const uint8_t *mark, const uint8_t *may_drop, uint32_t count);

/* Run `cycles`. */
int nsd_run(nsd_t *block, uint64_t cycles);
/* Run until at most `pending` frames are neither out nor dropped, `limit` cycles at most.
 * With pending = 0, frames at the end that may be dropped count as dropped once the block has
 * been quiet long enough. */
int nsd_drain(nsd_t *block, uint32_t pending, uint64_t limit);

/* Frames in, and out again or dropped: feed (any frame may be dropped), drain and collect in one.
 * Nothing may be pending before. verdict[i]: tuser[2:0] on frame i's last beat, 4 for a dropped
 * one; *accounted: how many of them are known, all unless a code is returned. */
int nsd_exchange(nsd_t *block, const uint8_t *data, const uint64_t *offset, const uint32_t *length,
                 uint32_t count, uint64_t limit, uint8_t *verdict, uint32_t *accounted);

uint64_t nsd_cycle(const nsd_t *block);
uint32_t nsd_pending(const nsd_t *block);  /* frames neither out nor dropped */
uint64_t nsd_beats_in(const nsd_t *block); /* beats accepted since nsd_new */

/* Results of frames whose fate is known, in order, each once; returns how many. */
uint32_t nsd_collect(nsd_t *block, struct nsd_result *results, uint32_t most);
/* Keep the bytes of frames that come out (off by default), and fetch them: those of the frames
 * nsd_collect is about to return, one after the other. Returns the bytes held; fills when they
 * fit into `room`, then forgets them. */
void nsd_keep(nsd_t *block, int keep);
uint64_t nsd_fetch(nsd_t *block, uint8_t *bytes, uint64_t room);

/* AXI4-Lite. */
int nsd_write(nsd_t *block, uint32_t address, uint32_t value);
int nsd_read(nsd_t *block, uint32_t address, uint32_t *value);

/* Pins: bit 0 seu_in, bit 1 over_temp_in; out: bit 0 irq, bit 1 heartbeat_out. */
void nsd_pins(nsd_t *block, uint32_t pins);
uint32_t nsd_outputs(const nsd_t *block);

/* Signals by name, in a build with test-only ports (faults.vlt); `scope` as "TOP.nsd_top.verdict",
 * `entry` of a memory, else 0. nsd_signal: bytes of an entry; peek and poke take that many. */
int nsd_signal(nsd_t *block, const char *scope, const char *name);
int nsd_peek(nsd_t *block, const char *scope, const char *name, uint32_t entry, uint8_t *bytes);
int nsd_poke(nsd_t *block, const char *scope, const char *name, uint32_t entry,
             const uint8_t *bytes);
/* After every rising edge a register becomes map[its value] (256 bytes; it is of one byte), or with
 * map NULL what it is now. A second hold takes the place of the first. Let go: as it was built. */
int nsd_hold(nsd_t *block, const char *scope, const char *name, const uint8_t *map);
int nsd_let_go(nsd_t *block, const char *scope, const char *name);

/* The first breach, or "". */
const char *nsd_error(const nsd_t *block);

#ifdef __cplusplus
}
#endif
#endif
