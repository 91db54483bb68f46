#!/bin/sh
# make demo: the project's own capture, once calmly, once over-subscribed; then an incident.
set -eu
cd "$(dirname "$0")/.."
capture=tests/captures/office.pcap
rules=demo/demo.rules
out=out/demo
nsdata=.venv/bin/nsdata
mkdir -p "$out"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

say "1. An office of 50 seconds, inline: all IP packets inspected, two uploads dropped"
$nsdata replay $capture --rules $rules --inline \
    --eve $out/eve.json --summary $out/summary.json --write-forwarded $out/forwarded.pcap
echo
echo "What fired:"
.venv/bin/python demo/show.py alerts $out/eve.json

say "2. The same 50 seconds on an engine that inspects 30 packets a second, queue 64"
echo "At 18 s a meter goes wild: 600 readings a second for 10 s, 700 packets with the rest."
echo "Above 90 % drops in 5 s, inspection gives way: from the next packet everything is permitted."
echo "A restore is tried every 7 s."
$nsdata replay $capture --rules $rules --inline --capacity 30pps --queue 64 --restore-after 7s \
    --eve $out/eve-over.json --summary $out/summary-over.json
echo
echo "What the drop meter saw and the controller did:"
.venv/bin/python demo/show.py fallback $out/eve-over.json

say "3. A worker of an appliance hangs: an incident written down, and asserted"
$nsdata scenario run examples/scenarios/03-hang.toml --quiet --html $out/hang.html

cat <<END

Outputs are in $out: eve.json, summary.json, forwarded.pcap, eve-over.json, summary-over.json,
hang.html (a page: the timeline of the incident).
Next:
  $nsdata manager demo      (three running appliances, and a page to see and switch them)
  $nsdata info $capture
  $nsdata replay $capture --rules $rules --bypass-rules demo/bypass.toml --summary $out/bypass.json
  $nsdata replay $capture --rules $rules --fallback-at 10s --restore-at 20s --eve $out/manual.json
  edit $rules, and: $nsdata rules check $rules
demo/README.md says which rule answers to what; README.md tells the rest.
END
