"""All benchmarks, or those named: `python -m benchmarks [--quick] [parse ingest http …]`."""

from __future__ import annotations

import argparse
import os
import sys

from benchmarks import http, ingest, memory, page, parse, query, stream
from benchmarks.measuring import machine

_ALL = {
    "parse": parse.run,
    "ingest": ingest.run,
    "http": http.run,
    "query": query.run,
    "memory": memory.run,
    "page": page.run,
    "stream": stream.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_ALL)}")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in _ALL]
    if unknown:
        parser.error(f"no benchmark is named {', '.join(unknown)}: choose of {', '.join(_ALL)}")
    print(f"Machine: {machine()}.")
    for name in options.names or _ALL:
        before = os.getloadavg()[0]
        _ALL[name](is_quick=options.quick)
        # Above the number of cores other programs are in the figures: those are no result.
        print(f"\nLoad average of one minute: {before:.1f} before, {os.getloadavg()[0]:.1f} after.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
