"""The former place of `dimse_rs.observe.metrics`, kept for programs that import it."""

import sys

from .observe import metrics
from .observe.metrics import *  # noqa: F403 - for type checkers

sys.modules[__name__] = metrics
