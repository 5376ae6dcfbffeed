"""`python -m examples.billing`."""

import sys

from examples.billing.billing import main

if __name__ == "__main__":
    sys.exit(main())
