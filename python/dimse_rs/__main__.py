"""`python -m dimse_rs <verb>`: the same as the `dimse` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
