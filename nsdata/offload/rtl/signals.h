// The block's signals by name, where the build made them public (faults.vlt): read, written once,
// or held from one rising edge to the next.
#ifndef NSD_SIGNALS_H
#define NSD_SIGNALS_H

#include <cstdint>
#include <cstring>
#include <vector>

#include "verilated.h"
#include "verilated_sym_props.h"

namespace nsd_signals {

struct Signal {
    uint8_t *at = nullptr;  // nullptr: there is none of that name
    uint32_t size = 0;      // bytes of an entry
    uint32_t entries = 0;   // 1, or of a memory
};

inline Signal find(const VerilatedContext &context, const char *scope, const char *name) {
    Signal found;
    const VerilatedScope *in = context.scopeFind(scope);
    VerilatedVar *var = in ? in->varFind(name) : nullptr;
    if (!var) return found;
    found.at = static_cast<uint8_t *>(var->datap());
    found.size = var->entSize();
    found.entries = var->udims() ? static_cast<uint32_t>(var->unpackedRanges()[0].elements()) : 1;
    return found;
}

// A register that is something else than the circuit made of it.
struct Hold {
    Signal signal;
    std::vector<uint8_t> kept;  // it stays this; empty: it is map[its value], one byte
    uint8_t map[256] = {};

    void apply() const {
        if (kept.empty())
            *signal.at = map[*signal.at];
        else
            std::memcpy(signal.at, kept.data(), kept.size());
    }
};

}  // namespace nsd_signals
#endif
