#!/bin/sh
# Build fuzz targets under libFuzzer + AddressSanitizer + UndefinedBehaviorSanitizer.
#
#   tests/fuzz/build.sh TARGET...      e.g. tests/fuzz/build.sh capture
#
# TARGET is the NAME of tests/fuzz/fuzz_NAME.pyx. A line "# fuzz: needs a.b c.d" in it
# lists the nsdata extensions (short names) to build instrumented with it. Everything is
# built out of tree into build/fuzz; the extensions in nsdata/ stay as they are.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
[ $# -gt 0 ] || { sed -n '2,8p' "$0" >&2; exit 2; }

python=${PYTHON:-.venv/bin/python}
cc=${FUZZ_CC:-clang}
out=build/fuzz
command -v "$cc" >/dev/null || {
    echo "fuzz: $cc is missing. Try: apt-get install clang" >&2; exit 1; }
[ -x "$python" ] || { echo "fuzz: $python is missing. Try: make setup" >&2; exit 1; }

# Python is commonly built with -fwrapv, which would hide signed overflow.
harden="-fno-wrapv -fno-sanitize-recover=all -fno-omit-frame-pointer"
sanitize="address,undefined,fuzzer-no-link"
includes=$("$python" -c 'import numpy, sysconfig
print("-I" + sysconfig.get_path("include"), "-I" + numpy.get_include())')
libs=$("$python" -c 'import sysconfig as s
d = s.get_config_var("LIBDIR")
print("-L" + d, "-Wl,-rpath," + d, "-lpython" + s.get_config_var("LDVERSION"), "-ldl -lm")')
suffix=$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')

mkdir -p "$out/gen"
# Empty packages: a target imports the extensions it names and nothing else of nsdata.
find nsdata -name __init__.py | while read -r init; do
    mkdir -p "$out/$(dirname "$init")"
    : >"$out/$init"
done

wanted=""
for target in "$@"; do
    source=tests/fuzz/fuzz_$target.pyx
    [ -f "$source" ] || { echo "fuzz: no such target: $source" >&2; exit 2; }
    wanted="$wanted $(sed -n 's/^# fuzz: needs //p' "$source")"
done
if [ -n "$(echo $wanted)" ]; then
    CC=$cc CFLAGS=$harden NSDATA_SANITIZE=$sanitize NSDATA_EXT="$wanted" \
        "$python" setup.py -q build_ext --build-lib "$out" --build-temp "$out/temp"
fi
for target in "$@"; do
    "$python" -m cython -3 -I . --module-name "fuzz_$target" \
        -X boundscheck=False,wraparound=False,cdivision=True,initializedcheck=False \
        -o "$out/gen/fuzz_$target.c" "tests/fuzz/fuzz_$target.pyx"
    $cc -O1 -g -fPIC -shared -w $harden -fsanitize=$sanitize $includes \
        "$out/gen/fuzz_$target.c" -o "$out/fuzz_$target$suffix"
done
# The sanitizer and coverage run-times live in the driver; -rdynamic lends them to the
# instrumented extensions, which are loaded into it.
$cc -O1 -g -Wall $harden -fsanitize=fuzzer,address,undefined -rdynamic $includes \
    tests/fuzz/driver.c -o "$out/driver" $libs
