"""Who is let in, and how addresses are written."""

import pytest

from ai_engine.transports.addresses import AllowedPeers, host_port, within_reach


@pytest.mark.parametrize(
    ("host", "admitted"),
    [
        ("127.0.0.1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.3.7", False),
        ("fe80::1%eth0", True),
        ("::1", False),
    ],
)
def test_who_may_send(host: str, admitted: bool) -> None:
    assert (host in AllowedPeers(["127.0.0.0/8", "192.0.2.0/24", "fe80::/10"])) == admitted


def test_a_network_that_is_none() -> None:
    with pytest.raises(ValueError, match="localnet"):
        AllowedPeers(["localnet"])


def test_an_ipv6_address_has_brackets_before_its_port() -> None:
    assert (host_port("192.0.2.7", 8090), host_port("::1", 8090)) == ("192.0.2.7:8090", "[::1]:8090")


def test_where_one_reaches_whoever_listens_everywhere() -> None:
    hosts = ["", "0.0.0.0", "::", "asterisk"]
    assert [within_reach(host) for host in hosts] == ["127.0.0.1", "127.0.0.1", "::1", "asterisk"]
