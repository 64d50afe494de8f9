"""What bad peers do to an acceptor, and what it must do then: one table.

A is what comes before an A-ASSOCIATE-RQ, B its contents, C fragments and their order, D command
sets, E instances, F queries, G endings, P what Python decodes. An id stands for the same input
wherever it is used.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.cases.association import request
from tests.hostile.cases.decoded import decoded
from tests.hostile.cases.handlers import with_handlers
from tests.hostile.cases.instances import instances
from tests.hostile.cases.messages import commands, endings, fragments
from tests.hostile.cases.operations import operations
from tests.hostile.cases.transport import before_request
from tests.support.script import Case

__all__ = ["cases"]


def cases(called: bytes) -> Iterator[Case]:
    """The table, for a node of this AE title that stores Secondary Capture in any syntax."""
    yield from before_request(called)
    yield from request(called)
    yield from fragments(called)
    yield from commands(called)
    yield from with_handlers(called)
    yield from instances(called)
    yield from operations(called)
    yield from decoded(called)
    yield from endings(called)
