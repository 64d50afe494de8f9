"""The former place of `dimse_rs.observe.audit`, kept for programs that import it."""

import sys

from .observe import audit
from .observe.audit import *  # noqa: F403 - for type checkers

sys.modules[__name__] = audit
