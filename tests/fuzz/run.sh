#!/bin/sh
# Build and run fuzz targets; the seconds are shared out evenly among them.
#
#   tests/fuzz/run.sh SECONDS [TARGET...]      all targets when none is named
#
# New inputs gather in build/fuzz/corpus/TARGET, seeds stay in tests/fuzz/corpus/TARGET.
# A finding is left as build/fuzz/TARGET-crash-*; the exit status is then 1. Replay it with
#   tests/fuzz/one.sh TARGET FILE
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
[ $# -gt 0 ] || { sed -n '2,8p' "$0" >&2; exit 2; }
seconds=$1
shift
if [ $# -eq 0 ]; then
    for source in tests/fuzz/fuzz_*.pyx; do
        target=${source##*/fuzz_}
        set -- "$@" "${target%.pyx}"
    done
fi
each=$((seconds / $#))
[ "$each" -gt 0 ] || each=1
tests/fuzz/build.sh "$@"

status=0
for target in "$@"; do
    seeds=tests/fuzz/corpus/$target
    found=build/fuzz/corpus/$target
    mkdir -p "$found"
    dictionary=
    [ ! -f "tests/fuzz/$target.dict" ] || dictionary=-dict=tests/fuzz/$target.dict
    [ -d "$seeds" ] || seeds=
    echo "fuzz: $target for $each s"
    log=build/fuzz/$target.log
    if tests/fuzz/one.sh "$target" -max_total_time="$each" -max_len="${FUZZ_MAX_LEN:-4096}" \
        -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=1 -reload=0 \
        -artifact_prefix="build/fuzz/$target-" $dictionary "$found" $seeds >"$log" 2>&1
    then
        grep -E '^Done|stat::(number_of_executed|average_exec|peak_rss)' "$log" || true
        grep -E 'DONE' "$log" | tail -1
    else
        tail -60 "$log" >&2
        echo "fuzz: $target failed; input kept as build/fuzz/$target-*, log in $log" >&2
        status=1
    fi
done
exit $status
