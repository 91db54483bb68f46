"""Build the libraries of the rtl transport: python -m nsdata.offload.rtl [WIDTH ...]."""

import sys
import time

from nsdata.errors import OffloadError
from nsdata.offload.rtl.build import build


def main() -> int:
    """Build 64 b and 512 b, or the widths named; 1 when one does not build."""
    for width in map(int, sys.argv[1:] or ("64", "512")):
        begin = time.monotonic()
        try:
            library = build(width)
        except OffloadError as error:
            print(f"nsdata: {error}", file=sys.stderr)
            return 1
        print(f"{width} b: {library} ({time.monotonic() - begin:.0f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
