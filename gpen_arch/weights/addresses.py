"""Which addresses may be asked for a file: https, without user-info, on the public internet."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from .excerpts import excerpt

_PLAIN = re.compile(r"[!-~]+")
_LOCAL_ENDINGS = frozenset({"localhost", "localdomain", "local", "internal"})

# Set aside for benchmarks, and what the resolvers of common VPN clients answer for every name: a
# peer here is the user's own tunnel. As a literal in an address it is refused like the others.
_TUNNEL_ANSWERS = ipaddress.ip_network("198.18.0.0/15")

_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressError(ValueError):
    """An address that is not asked; the text says what was expected instead."""


@dataclass(frozen=True)
class AddressPolicy:
    """The rule for addresses in the manifest, for redirects, and for the connected peer.

    ``exempt`` names hosts (names or IP addresses) that may be asked although they are not public,
    such as a server on this machine.
    """

    exempt: frozenset[str] = frozenset()

    def check_url(self, url: str) -> None:
        """Raise :class:`AddressError` for an address that may not be asked."""
        # Looked at first: urlsplit drops tabs and line ends without a word.
        if not _PLAIN.fullmatch(url):
            raise AddressError("an https address of printable ASCII characters")
        try:
            parts = urlsplit(url)
            host, _port = parts.hostname, parts.port
        except ValueError as error:
            raise AddressError(f"a well-formed https address ({excerpt(error)})") from None
        if parts.scheme != "https":
            raise AddressError("an https address")
        if "@" in parts.netloc:
            raise AddressError("an https address without a user name or password")
        if not host or len(parts.path) < 2:
            raise AddressError("a complete https address, with a host and a path")
        if host not in self.exempt and not _is_public_host(host):
            raise AddressError("an https address of a public host")

    def check_peer(self, peer: str) -> None:
        """Raise :class:`AddressError` for an IP address that may not be talked to."""
        address = ipaddress.ip_address(peer.partition("%")[0])
        allowed = peer in self.exempt or _is_public(address) or address in _TUNNEL_ANSWERS
        if not allowed:
            raise AddressError("a host on the public internet")


def _is_public_host(host: str) -> bool:
    try:
        return _is_public(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        labels = host.rstrip(".").split(".")
    last = labels[-1]
    # A name that ends in a number is another spelling of an IP address (127.1, 0x7f.1).
    is_number = last.isdigit() or last.startswith("0x")
    return len(labels) > 1 and all(labels) and not is_number and last not in _LOCAL_ENDINGS


def _is_public(address: _IPAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return _is_public(inner)
        if address.is_site_local:
            return False
    return not (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    )
