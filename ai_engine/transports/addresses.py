"""Asterisk's address and ours: who may send to us, and how it is written down."""

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address, ip_network

_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class AllowedPeers:
    """Networks in which Asterisk is."""

    def __init__(self, networks: Sequence[str]) -> None:
        """``networks`` in CIDR notation; raises ValueError for one that is none."""
        self._networks = [ip_network(network) for network in networks]

    def __contains__(self, host: str) -> bool:
        """Whether the address ``host`` lies in one of them; an IPv4 address may come in the clothes of an IPv6 one."""
        address = ip_address(host.partition("%")[0])
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        return any(address in network for network in self._networks)


def within_reach(host: str) -> str:
    """Where somebody on this machine reaches who listens on ``host``, which may stand for all addresses."""
    return _LOOPBACK.get(host, host)


def bracketed(host: str) -> str:
    """``host`` as it stands before a port: an IPv6 address needs brackets."""
    return f"[{host}]" if ":" in host else host


def host_port(host: str, port: int) -> str:
    """``host:port``."""
    return f"{bracketed(host)}:{port}"
