"""The former place of `dimse_rs.observe.events`, kept for programs that import it."""

import sys

from .observe import events
from .observe.events import *  # noqa: F403 - for type checkers

sys.modules[__name__] = events
