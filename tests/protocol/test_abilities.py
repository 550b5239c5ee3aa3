"""What Asterisks of many versions can do."""

import pytest

from ai_engine.protocol.abilities import Abilities, abilities

AUDIOSOCKET = "chan_audiosocket.so"
WEBSOCKET = "chan_websocket.so"
RTP = ("chan_rtp.so", "res_stasis_snoop.so")
FILES = ("res_stasis_playback.so", "res_stasis_snoop.so", "format_sln.so", "func_logic.so")
ALL = frozenset({AUDIOSOCKET, WEBSOCKET, *RTP, *FILES})


@pytest.mark.parametrize(
    ("version", "wideband", "websocket"),
    [
        ("22.10.1~dfsg+~cs6.15.60671435-1", True, True),
        ("18.9-cert1", False, False),
        ("18.26.4", False, False),
        ("19.99.0", False, False),
        ("20.16.9", False, False),
        ("20.17.0", True, False),
        ("20.18.0-rc1", True, True),
        ("certified/20.7-cert2", False, False),
        ("certified-20.18-cert1", True, True),
        ("21.11.0", False, False),
        ("21.12.2", True, False),
        ("21.99.0", True, False),
        ("22.6.0", False, False),
        ("22.7.0", True, False),
        ("22.8.0", True, True),
        ("23.0.0", False, False),
        ("23.1.0", True, False),
        ("23.2.0", True, True),
        ("24.0.0", True, True),
        ("31.1", True, True),
        ("GIT-22-abc123", False, False),
        ("GIT-25-abc123", True, True),
        ("GIT-master-24e9a1", False, False),
        ("", False, False),
        ("SVN-branch-1.8-r370000", False, False),
        ("²².8", False, False),
    ],
)
def test_a_version_decides_over_rates_and_websocket(version: str, wideband: bool, websocket: bool) -> None:
    able = abilities(version, ALL)
    assert (able.audiosocket_wideband, able.websocket) == (wideband, websocket)
    assert (able.audiosocket, able.rtp, able.files) == (True, True, True)
    assert len(able.lacks) == (not wideband) + (not websocket)


def test_the_best_transport_comes_first() -> None:
    assert abilities("22.10.1", ALL).transports() == ("websocket", "audiosocket", "legacy")
    assert abilities("20.7.0", ALL).transports() == ("audiosocket", "legacy")
    assert abilities("22.10.1", RTP).transports() == ("legacy",)
    assert abilities("22.10.1", ()).transports() == ()
    assert Abilities().transports() == ()


@pytest.mark.parametrize(
    ("module", "lost"),
    [
        (AUDIOSOCKET, {"audiosocket", "audiosocket_wideband"}),
        (WEBSOCKET, {"websocket"}),
        ("chan_rtp.so", {"rtp"}),
        ("res_stasis_snoop.so", {"rtp", "files"}),
        ("res_stasis_playback.so", {"files"}),
        ("format_sln.so", {"files"}),
        ("func_logic.so", {"files"}),
    ],
)
def test_a_missing_module_costs_what_it_carries_and_is_named(module: str, lost: set[str]) -> None:
    able = abilities("22.10.1", ALL - {module})
    names = {"audiosocket", "audiosocket_wideband", "websocket", "rtp", "files"}
    assert {name for name in names if not getattr(able, name)} == lost
    assert able.lacks
    assert all(f"load {module}" in lack for lack in able.lacks)


def test_what_an_upgrade_would_bring_is_said_with_the_versions() -> None:
    wideband, websocket = abilities("21.5.0", ALL).lacks
    assert "upgrade Asterisk 21.5.0 to 20.17, 21.12, 22.7, 23.1 or later" in wideband
    assert "upgrade Asterisk 21.5.0 to 20.18, 22.8, 23.2 or later" in websocket


def test_an_asterisk_with_everything_lacks_nothing() -> None:
    assert abilities("22.10.1", ALL).lacks == ()


def test_an_empty_version_is_said_to_be_unknown() -> None:
    assert "(version unknown)" in abilities("", ALL).lacks[0]
