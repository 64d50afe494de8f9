"""TLS: the certificate of an AE, and which certificates of peers it trusts (PS3.15 B.12).

The files are read when they are first needed, and again when they have changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from os import PathLike, fspath
from typing import Any, Final, Literal

from . import _core
from .records import dataclass, field, names_of

__all__ = ["PROFILE", "TLS", "Certificate", "TLSFacts"]

PROFILE: Final = "BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile"
"""The profile that every association over TLS conforms to (PS3.15 B.12)."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")

File = str | PathLike[str]
Password = str | bytes | Callable[[], str | bytes]


@dataclass(frozen=True, slots=True)
class TLS:
    """How the connections of an AE are secured; for `AE(tls=...)`.

    A certificate is trusted when a CA in `ca` has signed it, or when it is `pinned`. Of a pinned
    one neither signature, nor name, nor dates are checked. Hospitals need that: for self-signed
    certificates, and for those that name their host in the common name alone.

    Attributes:
        cert: our certificate, then those between it and its CA: PEM, or one certificate as DER. A
            server needs one; a requestor shows it to servers that request one.
        key: its private key, PEM or DER, PKCS #8 with or without pass phrase, PKCS #1 or SEC 1;
            default in the file of the certificate.
        ca: the certificates of CAs: a file or folder, or several; of a folder the files *.pem,
            *.crt, *.cer and *.der.
        verify: "required": both sides show a certificate that the other trusts. "optional": a
            server admits requestors that show none. "off": a server requests none, and a requestor
            does not check the server's, so that anyone in between can read; never the default.
        server_name: the host name or address that the certificate of a server must contain; default
            the host connected to. "*" accepts every name that the CA has signed.
        min_version: "1.2", or "1.3" to have no other.
        crl: file or files with certificate revocation lists, PEM or DER. With any, a certificate
            whose CA has no list here is not trusted.
        pinned: SHA-256 of certificates as DER, in hexadecimal with or without colons.
        password: the pass phrase of the key, or a function that is called for it once.

    Source: PS3.15 B.12.
    """

    cert: File | None = None
    key: File | None = None
    ca: File | Sequence[File] = ()
    verify: Literal["required", "optional", "off"] = field(default="required", kw_only=True)
    server_name: str | None = field(default=None, kw_only=True)
    min_version: Literal["1.2", "1.3"] = field(default="1.2", kw_only=True)
    crl: File | Sequence[File] = field(default=(), kw_only=True)
    pinned: str | Sequence[str] = field(default=(), kw_only=True)
    password: Password | None = field(default=None, kw_only=True, repr=False, compare=False)
    _native: _core.TLS = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what does not need the files.

        Raises:
            ValueError: a value is not allowed, or no certificate would be trusted.
        """
        for name in ("ca", "crl"):
            object.__setattr__(self, name, _files(getattr(self, name)))
        pinned = (self.pinned,) if isinstance(self.pinned, str) else self.pinned
        object.__setattr__(self, "pinned", tuple(_digest(text) for text in pinned))
        if self.verify not in ("required", "optional", "off"):
            raise ValueError(f"verify is required, optional or off, not {self.verify!r}")
        if self.min_version not in ("1.2", "1.3"):
            raise ValueError(f"min_version is 1.2 or 1.3, not {self.min_version!r} (PS3.15 B.12)")
        if self.key is not None and self.cert is None:
            raise ValueError("key= goes with cert=")
        # No CA at all is a mistake more often than a wish: every peer would be refused.
        if self.verify != "off" and not self.ca and not self.pinned:
            raise ValueError(
                'no certificate would be trusted: name ca= or pinned=, or write verify="off" for '
                "encryption with an unknown peer"
            )
        # Called here and once: later, on a thread of an association, no user could answer a prompt.
        password = self.password() if callable(self.password) else self.password
        if isinstance(password, str):
            password = password.encode()
        own = None if self.cert is None else _core.Credentials(self.cert, self.key, password)
        # The core keeps the settings, and reads the files itself when an association needs them.
        native = _core.TLS(
            own,
            ca=_files(self.ca),
            crl=_files(self.crl),
            pinned=[bytes.fromhex(digest) for digest in self.pinned],
            verify=self.verify,
            server_name=self.server_name,
            tls13_only=self.min_version == "1.3",
        )
        object.__setattr__(self, "_native", native)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle without the contents of the files; a pass phrase is copied."""
        return _restored, ({name: getattr(self, name) for name in _FIELDS},)


_FIELDS: Final = [name for name in names_of(TLS) if name != "_native"]


def _restored(values: dict[str, Any]) -> TLS:
    return TLS(**values)


def _files(given: File | Sequence[File]) -> tuple[str, ...]:
    files = (given,) if isinstance(given, (str, PathLike)) else given
    return tuple(fspath(file) for file in files)


def _digest(text: str) -> str:
    digest = text.replace(":", "").lower()
    if not _SHA256.fullmatch(digest):
        raise ValueError(f"not a SHA-256 in hexadecimal: {text!r}")
    return digest


@dataclass(frozen=True, slots=True)
class Certificate:
    """A peer's certificate: a trusted one, unless `TLS.verify` is "off".

    Attributes:
        der: its bytes.
        subject: its distinguished name, as RFC 4514 writes it: "CN=CT1,O=Hospital".
        names: hosts, addresses, mail addresses and URIs of its subjectAltName, then the common
            names of its subject.
    """

    der: bytes = field(repr=False)
    subject: str
    names: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Its fingerprint, as `TLS(pinned=...)` takes it."""
        import hashlib

        return hashlib.sha256(self.der).hexdigest()


@dataclass(frozen=True, slots=True)
class TLSFacts:
    """What the TLS handshake of an association agreed on.

    Attributes:
        version: "TLSv1.2" or "TLSv1.3".
        cipher_suite: by its IANA name, such as "TLS13_AES_256_GCM_SHA384".
        certificate: the peer's; None when it showed none.
    """

    version: str
    cipher_suite: str
    certificate: Certificate | None

    @classmethod
    def _of(cls, facts: _core.TLSFacts | None) -> TLSFacts | None:
        if facts is None:
            return None
        shown = facts.certificate
        certificate = shown and Certificate(shown.der, shown.subject, tuple(shown.names))
        return cls(facts.version.replace("_", "."), facts.cipher_suite, certificate)
