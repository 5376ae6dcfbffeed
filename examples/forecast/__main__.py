"""`python -m examples.forecast`."""

import sys

from examples.forecast.cli import main

if __name__ == "__main__":
    sys.exit(main())
