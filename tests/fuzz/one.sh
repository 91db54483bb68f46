#!/bin/sh
# Run a built fuzz target with libFuzzer options, or replay one input:
#
#   tests/fuzz/one.sh TARGET [OPTION...] [FILE|DIRECTORY...]
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
[ $# -gt 0 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
target=$1
shift
python=${PYTHON:-.venv/bin/python}
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
home=$("$python" -c 'import sys; print(sys.base_prefix)')
# Python frees little at exit and pools small blocks: no leak check, plain malloc.
ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:${ASAN_OPTIONS:-} \
UBSAN_OPTIONS=print_stacktrace=1:${UBSAN_OPTIONS:-} \
PYTHONMALLOC=malloc PYTHONHOME=$home PYTHONPATH=build/fuzz:$site PYTHONDONTWRITEBYTECODE=1 \
NSDATA_FUZZ_TARGET=fuzz_$target exec build/fuzz/driver "$@"
