#!/bin/sh
# Print the Python that .venv is made with: the first one >= 3.11 that can make a virtual
# environment and has the C headers. $PYTHON goes first when set. Prints nothing if none is found.
probe='
import sys
if sys.version_info < (3, 11): sys.exit(1)
import ensurepip, os, sysconfig, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
if not os.path.exists(header): sys.exit(1)
print(os.path.realpath(sys.executable))
'
for python in ${PYTHON:-} python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
    found=$("$python" -c "$probe" 2>/dev/null) && { echo "$found"; exit 0; }
done
exit 0
