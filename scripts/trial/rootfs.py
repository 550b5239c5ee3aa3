"""Install Asterisk into a Debian testing root directory, using the apt source this machine already has."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SUITE = "forky"
"""Debian testing: the first Debian whose Asterisk has AudioSocket through ARI."""

PACKAGES = ("asterisk", "asterisk-core-sounds-en-wav")
"""What goes into the root directory, beside apt itself; the second holds spoken prompts at 8000 Hz."""

DEFAULT_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".cache" / "asterisk"
ROOTFS = CACHE / "rootfs"

Say = Callable[[str], None]
"""Takes one line of progress."""


class TrialError(Exception):
    """The trial Asterisk cannot be had; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where Debian packages come from, and the keyring their signatures are checked with."""

    uri: str
    keyring: Path

    def source_line(self, suite: str) -> str:
        """The one-line apt source for ``suite``."""
        return f"deb [signed-by={self.keyring}] {self.uri} {suite} main"


def say(line: str) -> None:
    """Print one line of progress at once."""
    print(line, file=sys.stderr, flush=True)


def as_root(command: list[str]) -> list[str]:
    """``command`` as root: unchanged when we are root, else through sudo."""
    if os.geteuid() == 0:
        return command
    if shutil.which("sudo") is None:
        raise TrialError(f"'{command[0]}' needs root and there is no sudo: run this as root")
    return ["sudo", *command]


@contextmanager
def step(tell: Say, title: str) -> Iterator[None]:
    """Tell one line when the block is done, with the seconds it took."""
    began = time.monotonic()
    yield
    tell(f"  {title} ({time.monotonic() - began:.1f} s)")


def installed() -> bool:
    """Whether a complete root directory is there; a half-made one has another name."""
    return (ROOTFS / "usr/sbin/asterisk").is_file()


def install(tell: Say = say, apt: Path = Path("/etc/apt")) -> Path:
    """Make the root directory unless it is there, and return it; raises TrialError with advice."""
    if installed():
        return ROOTFS
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed():
            _make(tell, find_mirror(apt))
    return ROOTFS


def _make(tell: Say, mirror: Mirror) -> None:
    if shutil.which("mmdebstrap") is None:
        raise TrialError("mmdebstrap is missing: run scripts/setup (or apt-get install mmdebstrap)")
    if not mirror.keyring.exists():
        raise TrialError(f"{mirror.keyring} is missing: run apt-get install debian-archive-keyring")
    unfinished = CACHE / "rootfs.unfinished"
    _remove(unfinished)
    tell(f"installing Asterisk from Debian {SUITE} into {ROOTFS.relative_to(CHECKOUT)} (350 MB, about 40 s)")
    with step(tell, "packages fetched and unpacked"):
        _bootstrap(mirror, unfinished, tell)
    with step(tell, "checked that it runs"):
        version = _output(as_root(["chroot", str(unfinished), "asterisk", "-V"]))
    unfinished.rename(ROOTFS)
    tell(f"  {version.strip()}")


def find_mirror(apt: Path) -> Mirror:
    """The first Debian ``main`` mirror among apt's sources below ``apt``; OFFHOOK_DEBIAN_MIRROR goes first."""
    if named := os.environ.get("OFFHOOK_DEBIAN_MIRROR"):
        return Mirror(named, DEFAULT_KEYRING)
    one_line = [apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))]
    for path in [*sorted(apt.glob("sources.list.d/*.sources")), *one_line]:
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        parse = parse_deb822 if path.suffix == ".sources" else parse_one_line
        for mirror in parse(text):
            return _followed(mirror)
    raise TrialError(
        f"no Debian mirror among the apt sources in {apt}: "
        "set OFFHOOK_DEBIAN_MIRROR=URL, or use OFFHOOK_ASTERISK=system or Docker (asterisk/README.md)"
    )


def parse_deb822(text: str) -> Iterator[Mirror]:
    """Debian mirrors in the text of a ``.sources`` file."""
    for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)):
        fields = {
            name.lower(): value.split()
            for name, value in re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza, flags=re.MULTILINE)
        }
        enabled = fields.get("enabled", ["yes"]) != ["no"]
        if enabled and "deb" in fields.get("types", []):
            keyring = next(iter(fields.get("signed-by", [])), "")
            for uri in fields.get("uris", []):
                yield from _debian(uri, fields.get("suites", []), fields.get("components", []), keyring)


def parse_one_line(text: str) -> Iterator[Mirror]:
    """Debian mirrors in the text of a ``sources.list``."""
    for line in text.splitlines():
        if found := re.match(r"\s*deb\s+(?:\[([^]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]*)", line):
            options, uri, suite, components = found.groups()
            keyring = re.search(r"signed-by=(\S+)", options or "")
            yield from _debian(uri, [suite], components.split(), keyring.group(1) if keyring else "")


def _debian(uri: str, suites: Iterable[str], components: Iterable[str], keyring: str) -> Iterator[Mirror]:
    # A main archive is told from the security and third-party ones by its path, whatever host serves it.
    is_archive = uri.rstrip("/").endswith("/debian") or uri.startswith("mirror+file:")
    if is_archive and "main" in components and any("-security" not in suite for suite in suites):
        yield Mirror(uri, Path(keyring) if keyring.startswith("/") else DEFAULT_KEYRING)


def _followed(mirror: Mirror) -> Mirror:
    # Cloud images of Debian name a local file that holds the mirror's address.
    if not mirror.uri.startswith("mirror+file:"):
        return mirror
    listed = Path(mirror.uri.removeprefix("mirror+file:").replace("//", "/", 1)).read_text(encoding="utf-8")
    return Mirror(listed.split()[0], mirror.keyring)


def _bootstrap(mirror: Mirror, target: Path, tell: Say) -> None:
    options = _host_apt_options()
    try:
        _mmdebstrap(mirror, target, options)
    except TrialError as error:
        # A mirror frozen at a date keeps its Release file beyond the day it was meant to expire.
        if "is expired" not in str(error):
            raise
        tell("  the mirror is a frozen copy: trying again without the date check")
        _remove(target)
        _mmdebstrap(mirror, target, [*options, 'Acquire::Check-Valid-Until "false"'])


def _host_apt_options() -> list[str]:
    # A proxy or certificate this machine needs to reach its mirror is needed here just the same.
    wanted = re.compile(r'Acquire::(http|https)::?\S* ".+";')
    dumped = _output(["apt-config", "dump"]).splitlines()
    return [line.rstrip(";") for line in dumped if wanted.fullmatch(line)]


def _mmdebstrap(mirror: Mirror, target: Path, apt_options: list[str]) -> None:
    command = ["mmdebstrap", "--mode=root", "--variant=apt", f"--include={','.join(PACKAGES)}"]
    command += [f"--aptopt={option}" for option in apt_options]
    command += [SUITE, str(target), mirror.source_line(SUITE)]
    log = CACHE / "install.log"
    with log.open("wb") as output:
        done = subprocess.run(as_root(command), stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:])
        _remove(target)
        raise TrialError(
            f"mmdebstrap failed ({log}):\n{tail}\n"
            "check the network and 'apt-get update', then run 'scripts/asterisk install' again"
        )


def _remove(directory: Path) -> None:
    if directory.exists():
        subprocess.run(as_root(["rm", "-rf", "--one-file-system", str(directory)]), check=True)


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrialError(f"'{' '.join(command)}' failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
