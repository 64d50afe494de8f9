"""Passcodes: how they are stored, compared and checked (PS3.7 D.3.3.7).

A passcode is stored as a hash by scrypt, which is slow and takes memory on purpose: a thief of
the hashes can try few guesses. The same cost would let a peer keep this node busy with wrong
passcodes, so `Passcodes` limits how many wrong ones an address has per minute, and how many threads
wait because of that.
"""

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
    """Compare two secrets in a time that depends neither on them nor on where they differ."""
    import hashlib
    import hmac

    # Digests have one length: the comparison does not reveal that of a secret either.
    digests = (hashlib.sha256(as_utf8(secret)).digest() for secret in (one, other))
    return hmac.compare_digest(*digests)


class _Hash(NamedTuple):
    """A hash by scrypt with its parameters (RFC 7914)."""

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
        # Parameters from a file decide on the time and the memory of a check: they are bounded.
        sane = 1 <= made.log_n <= _MOST_LOG_N and 1 <= made.r <= 32 and 1 <= made.p <= 16
        if nothing or name != "scrypt" or not sane or len(made.digest) < _DIGEST:
            raise ValueError(_NO_HASH)
        return made

    def fits(self, passcode: str) -> bool:
        import hmac

        made = _scrypt(passcode, self.log_n, self.r, self.p, self.salt, len(self.digest))
        return hmac.compare_digest(made, self.digest)


# The text that is no hash is not quoted: it may be a passcode.
_NO_HASH: Final = "not what hash_passcode() makes"

_LOG_N, _R, _P = 14, 8, 1  # 16 MiB and some 50 ms
_MOST_LOG_N: Final = 20
_SALT: Final = 16
_DIGEST: Final = 32

_WHILE: Final = 60.0
"""Seconds over which wrong passcodes of an address are counted."""

_ADDRESSES: Final = 10_000
"""Most addresses whose wrong passcodes are remembered."""


def hash_passcode(passcode: str) -> str:
    """Hash a passcode for `check_passcode` and `Passcodes`, by scrypt with a random salt.

    Returns:
        A line of text, `$scrypt$ln=14,r=8,p=1$salt$hash`, that can be kept in a file.

    Source: RFC 7914.
    """
    salt = os.urandom(_SALT)
    digest = _scrypt(passcode, _LOG_N, _R, _P, salt, _DIGEST)
    return f"$scrypt$ln={_LOG_N},r={_R},p={_P}${_text(salt)}${_text(digest)}"


def check_passcode(passcode: str, stored: str) -> bool:
    """Whether a passcode is the one that was hashed, in a time that does not depend on it.

    Raises:
        ValueError: `stored` is not what `hash_passcode` makes.
    """
    return _Hash.parse(stored).fits(passcode)


class Congested(AssociationRejected):
    """An identity cannot be verified now, but perhaps later (PS3.8 9.3.4: temporary congestion).

    Attributes:
        why: for the log; the peer gets the codes alone.
    """

    def __init__(self, why: str) -> None:
        """Reject with (2,3,1)."""
        super().__init__(2, 3, 1)
        self.why = why


class Passcodes:
    """Verifies names with passcodes: for `Server(verify_identity=...)`.

    An unknown name takes as long as a known one, so that a peer cannot find out which names exist.
    Identities of other types are refused. When an address has had too many wrong passcodes, every
    identity from there is refused unread until the minute is over.

    Passcodes of one address are checked side by side, but never more of them than may still be
    wrong: otherwise a peer could have any number checked before the first wrong one is counted.
    Further ones wait for a turn.
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
            most_wrong: wrong passcodes that an address may send within a minute; 0 is no limit.
            most_waiting: identities that may wait for a turn, from all addresses together; each
                occupies a thread of the server. One more is rejected as transient (2,3,1).
            patience: seconds that an identity may wait; then it is rejected likewise.

        Raises:
            ValueError: a value is not what `hash_passcode` makes.
        """
        import hashlib  # noqa: F401 - loaded now, not while a peer waits
        import hmac  # noqa: F401

        self._users = {name: _Hash.parse(stored) for name, stored in users.items()}
        known = next(iter(self._users.values()), _Hash(_LOG_N, _R, _P, b"", b""))
        self._most_wrong = most_wrong
        self._most_waiting = most_waiting
        self._patience = patience
        self._wrong: dict[str, tuple[int, float]] = {}
        self._in_check: Counter[str] = Counter()
        self._waiting = 0
        self._changed = threading.Condition()
        # Unknown names are checked against this, with the parameters and thus the cost of the rest.
        self._of_unknown = known._replace(salt=os.urandom(_SALT), digest=os.urandom(_DIGEST))

    def __call__(self, proposal: Proposal) -> bool:
        """Verify the identity of a proposal.

        Raises:
            AssociationRejected: too many identities wait for a turn, or this one waited too long.
        """
        identity = proposal.identity
        if not isinstance(identity, UsernamePasscode):
            return False
        if not self._most_wrong:
            return self._fits(identity)
        address = proposal.peer.host
        if not self._begin(address):
            return False
        fits = False
        try:
            fits = self._fits(identity)
        finally:
            self._end(address, fits=fits)
        return fits

    def _fits(self, identity: UsernamePasscode) -> bool:
        stored = self._users.get(identity.name)
        return (stored or self._of_unknown).fits(identity.passcode) and stored is not None

    def _begin(self, address: str) -> bool:
        """Wait for a turn; False when the address has had too many wrong passcodes.

        Raises:
            AssociationRejected: no turn came in time.
        """
        # A turn is free while fewer passcodes of the address are in check than may yet be wrong.
        # The end of a check frees its turn; a wrong passcode uses it up, so that `left` shrinks for
        # those that wait. A thread waits only while another passcode is in check, and the end of
        # that check notifies it.
        deadline = time.monotonic() + self._patience
        with self._changed:
            waits = False
            try:
                while (left := self._left(address)) > 0 and self._in_check[address] >= left:
                    if not waits and self._waiting >= self._most_waiting:
                        raise Congested(f"{self._waiting} identities wait for their turn")
                    self._waiting += not waits
                    waits = True
                    if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                        raise Congested(f"its turn did not come within {self._patience:g} s")
            finally:
                self._waiting -= waits
            if left > 0:
                self._in_check[address] += 1
            return left > 0

    def _left(self, address: str) -> int:
        """Give how many wrong passcodes the address has left in its minute."""
        wrong, since = self._wrong.get(address, (0, 0.0))
        if time.monotonic() - since >= _WHILE:
            wrong = 0
        return self._most_wrong - wrong

    def _end(self, address: str, *, fits: bool) -> None:
        """Give the turn back, count a wrong passcode, and wake those that wait."""
        now = time.monotonic()
        with self._changed:
            self._in_check[address] -= 1
            if not self._in_check[address]:
                del self._in_check[address]
            if not fits:
                wrong, since = self._wrong.pop(address, (0, now))
                if now - since >= _WHILE:
                    wrong, since = 0, now
                # In the order of their last wrong passcode: the first is quiet for longest.
                if len(self._wrong) >= _ADDRESSES:
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
