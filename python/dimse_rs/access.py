"""`Allow`: which peers a server admits, and what each may ask for; for `Server(allow=...)`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from . import _core, sop_class
from .fields import SERVICE_OF
from .settings import check_ae_title
from .sop_class import Model
from .uids import is_uid

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from .tls import Certificate

__all__ = ["Allow", "load_allow"]

Texts: TypeAlias = str | Iterable[str] | None

_FIELD_OF: Final = {name: field for field, name in SERVICE_OF.items()}
_KEYS: Final = ("calling", "network", "certificate", "services", "sop_classes")
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]*")
_SHA256: Final = 64


class Allow:
    """An entry of a list of admitted peers: whom it matches, and what they may ask for.

    An entry matches a peer when each attribute that it names holds; of several values of an
    attribute one has to. Any peer that can connect can claim any AE title: name the network too, or
    the certificate.

    Attributes:
        calling: calling AE titles; None for any, as of the others.
        network: addresses and networks.
        certificate: SHA-256 of certificates, and names in them.
        services: DIMSE services.
        sop_classes: UIDs.

    Source: PS3.8 9.3.4, PS3.7 C.
    """

    def __init__(
        self,
        *,
        calling: Texts = None,
        network: Texts = None,
        certificate: Texts = None,
        services: Texts = None,
        sop_classes: str | Model | Iterable[str | Model] | None = None,
    ) -> None:
        """Check and keep the entry.

        Args:
            calling: calling AE titles, where `*` stands for any characters and `?` for one.
            network: addresses or networks, such as "10.1.0.0/16", "192.168.7.9" or "fd00::/8".
            certificate: SHA-256 of the peer's certificate, in hexadecimal with or without colons;
                or a name in it, such as "ct1.hospital.example". A peer without TLS, or of which
                no certificate was requested, has none.
            services: DIMSE services that the peer may ask for, such as "C-STORE". A request for
                another service, C-ECHO included, is answered 0124, refused: not authorized; where
                PS3.7 has no 0124, as if the service were not supported (C-ECHO 0122,
                N-EVENT-REPORT 0211).
            sop_classes: UIDs, keywords or models: the abstract syntaxes of the presentation
                contexts on which the peer may ask. A request on another context gets the same
                answers.

        Raises:
            ValueError: a title, an address, a digest, a service or a class is not valid, or a list
                is empty.
        """
        self.calling: tuple[str, ...] | None = _several("calling", calling)
        self.network: tuple[str, ...] | None = _several("network", network)
        shown = _several("certificate", certificate)
        self.certificate: tuple[str, ...] | None = (
            None if shown is None else tuple(map(_digest_or_name, shown))
        )
        self.services: tuple[str, ...] | None = _several("services", services)
        classes = None if sop_classes is None else _classes(sop_classes)
        self.sop_classes: tuple[str, ...] | None = _several("sop_classes", classes)
        for service in self.services or ():
            if service not in _FIELD_OF:
                raise ValueError(f"{service!r} is no DIMSE service: {', '.join(_FIELD_OF)}")
        # Compiled once: an entry is matched with every proposal.
        self._titles = None if self.calling is None else _pattern(self.calling)
        self._networks = None if self.network is None else _networks(self.network)

    def is_for(self, calling: str, address: str, certificate: Certificate | None = None) -> bool:
        """Whether this entry matches a peer.

        Args:
            calling: its AE title.
            address: its address; an IPv4 address may be written as an IPv6 one.
            certificate: the certificate of its TLS handshake.
        """
        from ipaddress import ip_address

        if self._titles is not None and not self._titles.fullmatch(calling):
            return False
        if self._networks is not None:
            if not address:  # the peer has closed the connection already
                return False
            where = ip_address(address)
            # On a socket of IPv6 an IPv4 peer appears as ::ffff:a.b.c.d.
            where = getattr(where, "ipv4_mapped", None) or where
            if not any(where in network for network in self._networks):
                return False
        if self.certificate is None or certificate is None:
            return self.certificate is None
        # A CA may have signed a name that looks like the digest of a certificate: a name of that
        # form must not pass for one.
        names = {name.lower() for name in certificate.names if not _is_digest(name.lower())}
        return not {certificate.sha256, *names}.isdisjoint(self.certificate)

    def __repr__(self) -> str:
        """Show the attributes that are named."""
        named = ((name, getattr(self, name)) for name in _KEYS)
        return f"Allow({', '.join(f'{name}={value!r}' for name, value in named if value)})"

    @property
    def permit(self) -> _core.Permit | None:
        """The same for the core; None permits everything. Private to `Server`."""
        if self.services is None and self.sop_classes is None:
            return None
        return _core.Permit(
            None if self.services is None else {_FIELD_OF[name] for name in self.services},
            None if self.sop_classes is None else [str(uid) for uid in self.sop_classes],
        )


def load_allow(path: str | PathLike[str]) -> list[Allow]:
    """Read entries from a TOML file: tables `[[allow]]` with the attributes of `Allow` as keys.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not TOML, or an entry is not one; the message says which.
    """
    import tomllib

    with open(path, "rb") as file:
        content = tomllib.load(file)
    tables = content.pop("allow", None)
    if content or not isinstance(tables, list):
        raise ValueError("the file has other keys than [[allow]] tables")
    return [_entry(number, table) for number, table in enumerate(tables, 1)]


def _entry(number: int, table: Mapping[str, Any]) -> Allow:
    if unknown := set(table) - set(_KEYS):
        raise ValueError(f"entry {number}: {', '.join(sorted(unknown))}: not of {', '.join(_KEYS)}")
    for name, value in table.items():
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"entry {number}: {name} is a string, or several in brackets")
    try:
        return Allow(**table)
    except ValueError as error:
        raise ValueError(f"entry {number}: {error}") from None


def _digest_or_name(text: str) -> str:
    digest = text.replace(":", "").lower()
    if _is_digest(digest):
        return digest
    # A digest with a digit too few must not become a name, which no certificate has.
    if _HEXADECIMAL.fullmatch(digest):
        raise ValueError(f"not a SHA-256, which has {_SHA256} digits: {text!r}")
    return text.lower()


def _is_digest(text: str) -> bool:
    return len(text) == _SHA256 and _HEXADECIMAL.fullmatch(text) is not None


def _several(name: str, value: Texts) -> tuple[str, ...] | None:
    if value is None:
        return None
    texts = (value,) if isinstance(value, str) else tuple(value)
    if not texts:
        raise ValueError(f"{name} is empty: leave it out to allow any")
    return texts


def _pattern(titles: Iterable[str]) -> re.Pattern[str]:
    signs = {"*": ".*", "?": "."}
    checked = map(check_ae_title, titles)
    parts = ("".join(signs.get(sign) or re.escape(sign) for sign in title) for title in checked)
    return re.compile("|".join(f"(?:{part})" for part in parts), re.DOTALL)


def _networks(texts: Iterable[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    from ipaddress import ip_network

    return tuple(map(ip_network, texts))


def _classes(what: str | Model | Iterable[str | Model]) -> tuple[str, ...]:
    listed = (what,) if isinstance(what, (str, Model)) else what
    uids: list[str] = []
    for item in listed:
        # From a TOML file all of these are text: a keyword of a class, that of a model, or a UID.
        named = getattr(sop_class, item, None) if isinstance(item, str) else item
        if isinstance(named, Model):
            uids += named
        elif isinstance(named, str) and is_uid(named):
            uids.append(named)
        elif isinstance(item, str) and is_uid(item):
            uids.append(item)
        else:
            raise ValueError(f"{item!r} is neither a UID nor the keyword of a SOP class")
    return tuple(uids)
