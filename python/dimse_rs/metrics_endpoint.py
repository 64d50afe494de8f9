"""The former place of `dimse_rs.observe.prometheus`, kept for programs that import it."""

import sys

from .observe import prometheus
from .observe.prometheus import *  # noqa: F403 - for type checkers

sys.modules[__name__] = prometheus
