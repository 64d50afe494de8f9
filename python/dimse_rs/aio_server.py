"""The former place of `dimse_rs.server.asynchronous`, kept for programs that import it."""

import sys

from .server import asynchronous
from .server.asynchronous import *  # noqa: F403 - for type checkers

sys.modules[__name__] = asynchronous
