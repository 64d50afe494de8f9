"""An SCP that does what a script says, byte by byte: a `ScriptedPeer` that is given its scripts."""

from __future__ import annotations

from dimse_rs.testing import ScriptedPeer
from dimse_rs.testing.connection import Connection
from dimse_rs.testing.peer import Script

__all__ = ["Connection", "ScriptedScp"]


class ScriptedScp(ScriptedPeer):
    """Plays a script for each connection, in order; what goes wrong in it is raised at the end.

    `receive_buffer` is what the kernel keeps of what a script has not read, 0 its own choice.
    """

    def __init__(self, *scripts: Script, receive_buffer: int = 0) -> None:
        super().__init__("ANY-SCP", receive_buffer=receive_buffer)
        self.play(*scripts)
        self.never_associate()  # on further connections
