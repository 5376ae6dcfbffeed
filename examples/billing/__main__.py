"""`python -m examples.billing`."""

import sys

from examples.billing.cli import main

if __name__ == "__main__":
    sys.exit(main())
