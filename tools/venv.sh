#!/bin/sh
# Make .venv with everything pyproject.toml names and the project itself, editable.
# Build isolation is off so that extensions are built with the Cython and numpy of .venv and
# the build can be incremental; what is needed to build is therefore installed first.
set -eu
cd "$(dirname "$0")/.."

tools/packages.sh build
python=$(tools/find_python.sh)
if [ -z "$python" ]; then
    tools/packages.sh python
    python=$(tools/find_python.sh)
fi
if [ -z "$python" ]; then
    echo "nsdata: no Python >= 3.11 with venv and C headers was found." >&2
    echo "        Try: apt-get install python3 python3-dev python3-venv" >&2
    echo "        or:  make setup PYTHON=/path/to/python3.11" >&2
    exit 1
fi

# A .venv that was moved, or whose Python has gone, is made anew.
case "$(head -n 1 .venv/bin/pip 2>/dev/null)" in
    "#!$PWD/.venv/bin/"*) .venv/bin/python -c '' 2>/dev/null || rm -rf .venv ;;
    *) rm -rf .venv ;;
esac
if [ ! -d .venv ]; then
    echo "making .venv with $python"
    "$python" -m venv .venv
fi

requires='
import tomllib
with open("pyproject.toml", "rb") as file:
    print("\n".join(tomllib.load(file)["build-system"]["requires"]))
'
wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
.venv/bin/python -c "$requires" > "$wanted"
echo "installing the Python packages pyproject.toml names"
.venv/bin/python -m pip install -q --disable-pip-version-check -r "$wanted"
# NSDATA_EXT=none: the extensions are built by `make`, in place and in parallel.
NSDATA_EXT=none .venv/bin/python -m pip install -q --disable-pip-version-check \
    --no-build-isolation -e '.[dev,hdl]'
