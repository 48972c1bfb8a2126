"""``python -m dual_jax`` is the command line."""

import sys

from dual_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
