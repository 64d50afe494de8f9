"""The former place of `dimse_rs.storage`, kept for programs that import it."""

import sys

from dimse_rs import storage
from dimse_rs.storage import *  # noqa: F403 - for type checkers

sys.modules[__name__] = storage
