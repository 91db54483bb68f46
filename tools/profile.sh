#!/bin/sh
# Counts the instructions of a replay by function and by stage, with callgrind.
#
#   tools/profile.sh CAPTURE [RULES] [PACKETS] [PERCENT]
#
# PERCENT: with verdicts of the FPGA's model, given for free (offload.leave-common=PERCENT).
#
# Counts do not depend on what else the machine does, so they tell a small gain from noise.
# Only the packet path and its output are counted, not the compilation of the rules. Under
# valgrind the CPU looks like one with AVX2 at most, so Hyperscan's share is a little higher
# than in a plain run. Leaves out/callgrind.out for callgrind_annotate or kcachegrind.
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || { sed -n '4s/^# *//p' "$0" >&2; exit 2; }
for tool in valgrind callgrind_annotate gcc; do
    command -v $tool >/dev/null || {
        echo "tools/profile.sh: $tool is missing. Try: apt-get install valgrind gcc" >&2; exit 2; }
done
mkdir -p out
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/switch.c" <<'C'
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; }
void stop(void) { CALLGRIND_STOP_INSTRUMENTATION; }
C
gcc -O1 -shared -fPIC -o "$work/switch.so" "$work/switch.c"
PYTHONMALLOC=malloc valgrind --tool=callgrind --instr-atstart=no --dump-line=no \
    --callgrind-out-file=out/callgrind.out \
    .venv/bin/python tools/profile_replay.py run "$work/switch.so" "$@" 2>"$work/log" ||
    { cat "$work/log" >&2; exit 1; }
callgrind_annotate --inclusive=yes --threshold=100 out/callgrind.out >"$work/inclusive"
callgrind_annotate --threshold=100 out/callgrind.out >"$work/self"
.venv/bin/python tools/profile_replay.py report "$work/inclusive" "$work/self"
