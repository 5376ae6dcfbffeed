"""All benchmarks, or those named: `python -m benchmarks [--quick] [parse ingest http …]`."""

from __future__ import annotations

import argparse
import os
import sys

from benchmarks import http, ingest, memory, page, parse, query, shards, soak, sql, state, stream
from benchmarks.measuring import machine

_ALL = {
    "parse": parse.run,
    "ingest": ingest.run,
    "sql": sql.run,
    "http": http.run,
    "query": query.run,
    "shards": shards.run,
    "memory": memory.run,
    "page": page.run,
    "stream": stream.run,
    "state": state.run,
}
#: Takes long, and has bounds of its own: only where it is named.
_SOAK = "soak"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_ALL)}")
    parser.add_argument("--messages", type=int, help="of the soak")
    parser.add_argument("--rate", type=int, help="messages a second of the soak")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    options = parser.parse_args()
    known = (*_ALL, _SOAK)
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"no benchmark is named {', '.join(unknown)}: choose of {', '.join(known)}")
    is_well = True
    print(f"Machine: {machine()}.")
    for name in options.names or _ALL:
        before = os.getloadavg()[0]
        if name == _SOAK:
            is_well &= soak.run(
                is_quick=options.quick, messages=options.messages, rate=options.rate
            )
        else:
            _ALL[name](is_quick=options.quick)
        # Above the number of cores, other programs distort the figures: discard them.
        print(f"\nLoad average of one minute: {before:.1f} before, {os.getloadavg()[0]:.1f} after.")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
