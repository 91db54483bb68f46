#!/bin/sh
# Install the Debian packages of the named groups (see packages.txt), only those missing.
# Usage: tools/packages.sh GROUP...
set -eu
list=$(dirname "$0")/../packages.txt

wanted=
for group in "$@"; do
    wanted="$wanted $(awk -v g="$group" '$1 !~ /^#/ && $2 == g { print $1 }' "$list")"
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "nsdata: not a Debian system; make sure you have what these packages hold:" $wanted >&2
    exit 0
fi

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "nsdata: these Debian packages are missing:$missing" >&2
    echo "        Try: sudo apt-get install$missing" >&2
    echo "        then run make again; nothing else here needs root." >&2
    exit 1
fi

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# The package lists of a bare system are empty or old: refresh them once when the first try fails.
install() { apt-get install -y -qq --no-install-recommends $missing >/dev/null; }
install 2>/dev/null || { apt-get update -qq && install; }
