"""Finding the machine's own Debian mirror, and an install that is whole or not there."""

from pathlib import Path

import pytest

from scripts.trial import rootfs
from scripts.trial.rootfs import DEFAULT_KEYRING, Mirror, TrialError, find_mirror, parse_deb822, parse_one_line

DEB822 = """\
# see sources.list(5)
Types: deb
URIs: http://mirror.test/tools
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://switched-off.test/debian
Suites: bookworm
Components: main

Types: deb deb-src
# a comment inside
URIs: https://mirror.test/debian/
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/own.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
"""


def test_a_sources_file() -> None:
    assert list(parse_deb822(DEB822)) == [Mirror("https://mirror.test/debian/", Path("/usr/share/keyrings/own.gpg"))]


def test_a_key_written_into_the_sources_file_falls_back_on_debians_keyring() -> None:
    text = (
        "Types: deb\nURIs: http://m.test/debian\nSuites: trixie\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n"
    )
    assert list(parse_deb822(text)) == [Mirror("http://m.test/debian", DEFAULT_KEYRING)]


@pytest.mark.parametrize(
    ("line", "mirror"),
    [
        ("deb http://m.test/debian bookworm main", Mirror("http://m.test/debian", DEFAULT_KEYRING)),
        (
            "deb [arch=amd64 signed-by=/k.gpg] http://m.test/debian trixie main",
            Mirror("http://m.test/debian", Path("/k.gpg")),
        ),
        ("deb http://m.test/debian bookworm contrib main # first", Mirror("http://m.test/debian", DEFAULT_KEYRING)),
        ("# deb http://m.test/debian bookworm main", None),
        ("deb-src http://m.test/debian bookworm main", None),
        ("deb http://m.test/debian bookworm contrib", None),
        ("deb http://m.test/debian-security bookworm-security main", None),
        ("deb http://m.test/debian bookworm-security main", None),
        ("deb http://m.test/ubuntu noble main", None),
        ("deb cdrom:[Debian]/ bookworm main", None),
    ],
)
def test_a_line_of_sources_list(line: str, mirror: Mirror | None) -> None:
    assert list(parse_one_line(line)) == ([mirror] if mirror else [])


def test_a_mirror_list_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "mirrors").write_text("https://m.test/debian\nhttps://second.test/debian\n")
    (tmp_path / "sources.list").write_text(f"deb mirror+file:{tmp_path}/mirrors bookworm main\n")
    assert find_mirror(tmp_path) == Mirror("https://m.test/debian", DEFAULT_KEYRING)


def test_no_mirror_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrialError, match="set OFFHOOK_DEBIAN_MIRROR=URL"):
        find_mirror(tmp_path)
    monkeypatch.setenv("OFFHOOK_DEBIAN_MIRROR", "http://named.test/debian")
    assert find_mirror(tmp_path).uri == "http://named.test/debian"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one mirror, an empty cache, and stand-ins for the programs that install."""
    monkeypatch.setattr(rootfs, "CHECKOUT", tmp_path)
    monkeypatch.setattr(rootfs, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(rootfs, "ROOTFS", tmp_path / "cache" / "rootfs")
    (tmp_path / "sources.list").write_text("deb http://m.test/debian bookworm main\n")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for name, script in {"sudo": 'exec "$@"', "apt-config": ":", "chroot": "echo Asterisk 22.0.0"}.items():
        _stand_in(tmp_path, name, script)
    return tmp_path


def _stand_in(machine: Path, name: str, script: str) -> None:
    program = machine / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


MAKE = """
echo "$*" >> calls
for word; do case $word in */rootfs.unfinished) target=$word;; esac; done
mkdir -p "$target/usr/sbin"
"""


def test_a_frozen_mirror_is_tried_again_without_the_date_check(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine)
    expired = 'case "$*" in *Check-Valid-Until*) ;; *) echo "E: Release file is expired"; exit 25;; esac'
    _stand_in(machine, "mmdebstrap", f'{MAKE}{expired}\ntouch "$target/usr/sbin/asterisk"')
    told: list[str] = []
    assert rootfs.install(told.append, machine) == machine / "cache" / "rootfs"
    first, second = (machine / "calls").read_text().splitlines()
    assert "Check-Valid-Until" not in first
    assert "Check-Valid-Until" in second
    assert any("Asterisk 22.0.0" in line for line in told)
    assert rootfs.install(told.append, machine) == machine / "cache" / "rootfs"
    assert len((machine / "calls").read_text().splitlines()) == 2, "what is there is not made again"


def test_a_failed_install_leaves_nothing_that_looks_whole(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine)
    _stand_in(machine, "mmdebstrap", f'{MAKE}touch "$target/usr/sbin/asterisk"; echo "E: no network"; exit 25')
    with pytest.raises(TrialError, match=r"no network(.|\n)*check the network"):
        rootfs.install(lambda line: None, machine)
    assert not rootfs.installed()
    assert not (machine / "cache" / "rootfs.unfinished").exists()


def test_a_directory_half_made_before_is_cleared_away(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine)
    stale = machine / "cache" / "rootfs.unfinished" / "stale"
    stale.mkdir(parents=True)
    _stand_in(machine, "mmdebstrap", f'{MAKE}touch "$target/usr/sbin/asterisk"')
    assert not (rootfs.install(lambda line: None, machine) / "stale").exists()
