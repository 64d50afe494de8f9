"""User identity: the user on whose behalf a requestor associates (PS3.7 D.3.3.7).

Secrets appear in no `repr` and no log. A server verifies identities with the function that
`Server(verify_identity=...)` names: `Passcodes` is one, and `same_secret` helps to write others.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from . import _core
from .errors import LocalProtocolError
from .records import dataclass, field

__all__ = [
    "Jwt",
    "Kerberos",
    "Saml",
    "UserIdentity",
    "Username",
    "UsernamePasscode",
    "as_utf8",
    "fields_of",
    "identity_of",
]


Fields: TypeAlias = "_core.Identity"
"""As on the wire: type, positive response requested, primary and secondary field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserIdentity:
    """What the five types have in common; use one of them.

    Attributes:
        type: the user identity type, 1 to 5.
        response_requested: ask the acceptor to confirm that it verified the identity. Without a
            confirmation `Association.identity_response` is None, which the requestor has to judge.

    Source: PS3.7 D.3.3.7.1.
    """

    type: ClassVar[int] = 0

    response_requested: bool = False

    @property
    def fields(self) -> Fields:
        """The fields of the item, secrets included; private."""
        primary, secondary = self._values()
        fields = as_utf8(primary), as_utf8(secondary)
        return _core.Identity(self.type, self.response_requested, *fields)

    def _values(self) -> tuple[str | bytes, str]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Username(UserIdentity):
    """Type 1: a name without proof.

    Attributes:
        name: the user's name.
    """

    type: ClassVar[int] = 1

    name: str

    def _values(self) -> tuple[str | bytes, str]:
        return self.name, ""


@dataclass(frozen=True, slots=True)
class UsernamePasscode(UserIdentity):
    """Type 2: a name and a passcode, unencrypted: for associations over TLS.

    Attributes:
        name: the user's name.
        passcode: for `check_passcode`, or `same_secret`.
        in_clear: send it without TLS too, readable for everyone on the network.
    """

    type: ClassVar[int] = 2

    name: str
    passcode: str = field(repr=False)
    # How the passcode may travel is no part of who the user is: it does not count in a comparison.
    in_clear: bool = field(default=False, kw_only=True, compare=False)

    def _values(self) -> tuple[str | bytes, str]:
        return self.name, self.passcode


@dataclass(frozen=True, slots=True)
class Kerberos(UserIdentity):
    """Type 3: a Kerberos service ticket; a verified one is answered with the server's ticket.

    Attributes:
        ticket: its bytes.
    """

    type: ClassVar[int] = 3

    ticket: bytes = field(repr=False)

    def _values(self) -> tuple[str | bytes, str]:
        return self.ticket, ""


@dataclass(frozen=True, slots=True)
class Saml(UserIdentity):
    """Type 4: a SAML assertion; a verified one is answered with a SAML response.

    Attributes:
        assertion: the XML.
    """

    type: ClassVar[int] = 4

    assertion: str = field(repr=False)

    def _values(self) -> tuple[str | bytes, str]:
        return self.assertion, ""


@dataclass(frozen=True, slots=True)
class Jwt(UserIdentity):
    """Type 5: a JSON Web Token.

    Attributes:
        token: the encoded token.
    """

    type: ClassVar[int] = 5

    token: str = field(repr=False)

    def _values(self) -> tuple[str | bytes, str]:
        return self.token, ""


def as_utf8(value: str | bytes) -> bytes:
    """Give the bytes of a name or a secret; text is UTF-8 (PS3.7 D.3.3.7.1)."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def fields_of(identity: UserIdentity | None, *, secured: bool) -> Fields | None:
    """Give the fields for the wire.

    Args:
        identity: the user.
        secured: whether the connection uses TLS.

    Raises:
        LocalProtocolError: a passcode would be sent in clear, and `in_clear` does not allow that.
    """
    if isinstance(identity, UsernamePasscode) and not secured and not identity.in_clear:
        raise LocalProtocolError(
            "a passcode is not sent without TLS: everyone on the network could read it",
            hint="use TLS: AE(tls=...), --tls-ca and its kin;"
            " or allow it: UsernamePasscode(..., in_clear=True), --passcode-in-clear",
        )
    return None if identity is None else identity.fields


def identity_of(item: Fields | None) -> UserIdentity | None:
    """Read the fields from the wire.

    Returns:
        None when there is no identity, or one of a type that the standard does not define.
    """
    if item is None:
        return None
    response_requested = item.response_requested
    if item.type == Kerberos.type:
        return Kerberos(item.primary, response_requested=response_requested)
    # Bytes that are not UTF-8 become lone surrogates: two different names stay different, and the
    # bytes can be had back.
    text = item.primary.decode("utf-8", "surrogateescape")
    match item.type:
        case Username.type:
            return Username(text, response_requested=response_requested)
        case UsernamePasscode.type:
            passcode = item.secondary.decode("utf-8", "surrogateescape")
            return UsernamePasscode(text, passcode, response_requested=response_requested)
        case Saml.type:
            return Saml(text, response_requested=response_requested)
        case Jwt.type:
            return Jwt(text, response_requested=response_requested)
        case _:
            return None
