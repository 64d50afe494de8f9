"""Passcodes: how they are kept, compared and checked (PS3.7 D.3.3.7)."""

from __future__ import annotations

import os
import threading
import time
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from .errors import AssociationRejected
from .user_identity import UsernamePasscode, as_utf8

if TYPE_CHECKING:
    from .proposal import Proposal

__all__ = ["Congested", "Passcodes", "check_passcode", "hash_passcode", "same_secret"]


def same_secret(one: str | bytes, other: str | bytes) -> bool:
    """Compare two secrets in a time that tells nothing of either, nor of where they differ."""
    import hashlib
    import hmac

    digests = (hashlib.sha256(as_utf8(secret)).digest() for secret in (one, other))
    return hmac.compare_digest(*digests)


class _Hash(NamedTuple):
    """A passcode that was hashed by scrypt (RFC 7914)."""

    log_n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> _Hash:
        try:
            nothing, name, parameters, salt, digest = text.split("$")
            numbers = dict(part.split("=") for part in parameters.split(","))
            log_n, r, p = (int(numbers[key]) for key in ("ln", "r", "p"))
            made = cls(log_n, r, p, _bytes(salt), _bytes(digest))
        except (ValueError, KeyError):
            raise ValueError(_NO_HASH) from None
        sane = 1 <= made.log_n <= _MOST_LOG_N and 1 <= made.r <= 32 and 1 <= made.p <= 16
        if nothing or name != "scrypt" or not sane or len(made.digest) < _DIGEST:
            raise ValueError(_NO_HASH)
        return made

    def fits(self, passcode: str) -> bool:
        import hmac

        made = _scrypt(passcode, self.log_n, self.r, self.p, self.salt, len(self.digest))
        return hmac.compare_digest(made, self.digest)


_NO_HASH: Final = "not what hash_passcode() makes"  # never what was given: it may be a passcode


_LOG_N, _R, _P = 14, 8, 1  # 16 MiB and some 50 ms


_MOST_LOG_N: Final = 20


_SALT: Final = 16


_WHILE: Final = 60.0


_ADDRESSES: Final = 10_000


_DIGEST: Final = 32


def hash_passcode(passcode: str) -> str:
    """Hash a passcode for `check_passcode` and `Passcodes`: by scrypt, with a salt of its own.

    Returns:
        A line of text, `$scrypt$ln=14,r=8,p=1$salt$hash`, that can be kept in a file.

    Source: RFC 7914.
    """
    salt = os.urandom(_SALT)
    digest = _scrypt(passcode, _LOG_N, _R, _P, salt, _DIGEST)
    return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_text(salt)}${_text(digest)}"


def check_passcode(passcode: str, stored: str) -> bool:
    """Tell whether a passcode is the one that was hashed, in a time that does not depend on it.

    Raises:
        ValueError: `stored` is not what `hash_passcode` makes.
    """
    return _Hash.parse(stored).fits(passcode)


class Congested(AssociationRejected):
    """An identity cannot be verified now, and may be later (PS3.8 9.3.4: temporary congestion).

    Attributes:
        why: for our log; the peer gets the codes.
    """

    def __init__(self, why: str) -> None:
        """Reject with (2,3,1)."""
        super().__init__(2, 3, 1)
        self.why = why


class Passcodes:
    """Verifies names with passcodes: for `Server(verify_identity=...)`.

    A name that is not known takes as long as one that is. Identities of other types are refused.
    An address from which too many were wrong is not listened to for a while: guesses are few, and
    hashing, which is meant to be slow, cannot be used to keep this node busy. As many of one
    address as may still be wrong are looked at side by side; the others wait for their turn.
    """

    def __init__(
        self,
        users: Mapping[str, str],
        *,
        most_wrong: int = 10,
        most_waiting: int = 32,
        patience: float = 10.0,
    ) -> None:
        """Keep the hashes.

        Args:
            users: what `hash_passcode` made, by name.
            most_wrong: how many may be wrong from one address within a minute; 0 is no limit.
            most_waiting: how many may wait for their turn, from all addresses; each keeps one of
                the server's threads. One more is rejected for the moment (2,3,1).
            patience: seconds that one may wait; then it is rejected likewise.

        Raises:
            ValueError: a value is not what `hash_passcode` makes.
        """
        import hashlib  # noqa: F401 - as everything that a server needs: before it has a port
        import hmac  # noqa: F401

        self._users = {name: _Hash.parse(stored) for name, stored in users.items()}
        known = next(iter(self._users.values()), _Hash(_LOG_N, _R, _P, b"", b""))
        self._most_wrong = most_wrong
        self._most_waiting = most_waiting
        self._patience = patience
        self._wrong: dict[str, tuple[int, float]] = {}
        self._looked_at: Counter[str] = Counter()
        self._waiting = 0
        self._changed = threading.Condition()
        self._nobody = known._replace(salt=os.urandom(_SALT), digest=os.urandom(_DIGEST))

    def __call__(self, proposal: Proposal) -> bool:
        """Verify the identity of a proposal.

        Raises:
            AssociationRejected: too many wait for their turn, or it did not come.
        """
        said = proposal.identity
        if not isinstance(said, UsernamePasscode):
            return False
        if not self._most_wrong:
            return self._fits(said)
        address = proposal.peer.host
        if not self._begin(address):
            return False
        fits = False
        try:
            fits = self._fits(said)
        finally:
            self._end(address, fits=fits)
        return fits

    def _fits(self, said: UsernamePasscode) -> bool:
        stored = self._users.get(said.name)
        return (stored or self._nobody).fits(said.passcode) and stored is not None

    def _begin(self, address: str) -> bool:
        """Wait for a turn; False when too many were wrong.

        Raises:
            AssociationRejected: there is none now.
        """
        deadline = time.monotonic() + self._patience
        with self._changed:
            waits = False
            try:
                while (left := self._left(address)) > 0 and self._looked_at[address] >= left:
                    if not waits and self._waiting >= self._most_waiting:
                        raise Congested(f"{self._waiting} identities wait for their turn")
                    self._waiting += not waits
                    waits = True
                    if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                        raise Congested(f"its turn did not come within {self._patience:g} s")
            finally:
                self._waiting -= waits
            if left > 0:
                self._looked_at[address] += 1
            return left > 0

    def _left(self, address: str) -> int:
        """Give how many may still be wrong."""
        wrong, since = self._wrong.get(address, (0, 0.0))
        if time.monotonic() - since >= _WHILE:
            wrong = 0
        return self._most_wrong - wrong

    def _end(self, address: str, *, fits: bool) -> None:
        """Count one that was wrong, and have the next one looked at."""
        now = time.monotonic()
        with self._changed:
            self._looked_at[address] -= 1
            if not self._looked_at[address]:
                del self._looked_at[address]
            if not fits:
                wrong, since = self._wrong.pop(address, (0, now))
                if now - since >= _WHILE:
                    wrong, since = 0, now
                if len(self._wrong) >= _ADDRESSES:  # the one that has been quiet for longest
                    del self._wrong[next(iter(self._wrong))]
                self._wrong[address] = wrong + 1, since
            self._changed.notify_all()

    def __repr__(self) -> str:
        """Show how many names are known."""
        return f"<{type(self).__name__} of {len(self._users)}>"


def _scrypt(passcode: str, log_n: int, r: int, p: int, salt: bytes, length: int) -> bytes:
    import hashlib

    n = 1 << log_n
    room = 256 * r * (n + p + 2)  # twice what it takes
    secret = as_utf8(passcode)
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=room, dklen=length)


def _text(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)
