"""The bytes by hand of `dimse_rs.testing.wire`, under the name that these tests know."""

from dimse_rs.testing.wire import *  # noqa: F403
