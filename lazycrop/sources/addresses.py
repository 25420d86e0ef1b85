"""Addresses: which of them a download may connect to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from lazycrop.errors import ConfigurationError

# Own tables: ipaddress.is_global disagrees with them in a third of the edge cases (NAT64, 6to4, multicast, …).
_REFUSED_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",  # the host agent of Azure, reached from every machine there
    )
)
_UNICAST_IPV6 = IPv6Network("2000::/3")
_REFUSED_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, by the tables above."""
    address = unwrapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_IPV4)
    # RFC 5214, 6.1: an ISATAP interface id is 5efe and an IPv4 address; the bits masked out are its u and g.
    isatap = int(address) >> 32 & 0xFCFF_FFFF == 0x5EFE
    return address in _UNICAST_IPV6 and not isatap and not any(address in network for network in _REFUSED_IPV6)


def unwrapped(address: Address) -> Address:
    """The IPv4 address that packets to an IPv4-mapped or NAT64 address go to; any other address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


@dataclass(frozen=True)
class Rules:
    """Which addresses may be connected to: deny wins over allow, allow over the tables."""

    allow: Networks
    deny: Networks

    @classmethod
    def read(cls, allow: Sequence[str], deny: Sequence[str]) -> Rules:
        return cls(allow=networks("allow_networks", allow), deny=networks("deny_networks", deny))

    def permit(self, address: Address) -> bool:
        forms = (address, unwrapped(address))
        if any(form in network for network in self.deny for form in forms):
            return False
        return any(form in network for network in self.allow for form in forms) or is_public(address)


def networks(name: str, texts: Sequence[str]) -> Networks:
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise ConfigurationError(f"{name} is malformed ({error}); write networks like 10.1.0.0/16.") from error
