"""models/CHECKSUMS: the SHA-256 of every file that was fetched, in the form that sha256sum -c reads."""

import hashlib
import os
from pathlib import Path

_HEAD = """\
# Written by scripts/fetch_models. To check: scripts/fetch_models verify, or sha256sum -c CHECKSUMS in this folder.
# A "fetched" line is what a source was when it was first fetched; it must be the same whenever it is fetched again.
"""


def sha256_of(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Checksums:
    """The record, read when made; every change is on the disk before the call returns."""

    def __init__(self, models: Path) -> None:
        self._path = models / "CHECKSUMS"
        self.files: dict[str, str] = {}
        """Path below the models folder -> SHA-256 of a file that should be here."""
        self.fetched: dict[str, str] = {}
        """Where a source goes -> SHA-256 of what its host gave. It outlives the model's removal."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        for line in lines:
            if line.startswith("# fetched "):
                digest, _, to = line.removeprefix("# fetched ").partition(" ")
                self.fetched[to] = digest
            elif line and not line.startswith("#"):
                digest, _, name = line.partition("  ")
                self.files[name] = digest

    def pin(self, to: str, digest: str) -> None:
        """Remember what the source that goes to ``to`` was."""
        self.fetched[to] = digest
        self._write()

    def replace(self, places: tuple[str, ...], files: dict[str, str]) -> None:
        """From now on ``files``, and nothing else, are below ``places``."""
        self.files = {name: digest for name, digest in self.files.items() if not below(name, places)} | files
        self._write()

    def of(self, places: tuple[str, ...]) -> dict[str, str]:
        """The files that should be below ``places``."""
        return {name: digest for name, digest in self.files.items() if below(name, places)}

    def _write(self) -> None:
        new = self._path.with_name("CHECKSUMS.new")
        with new.open("w") as file:
            file.write(_HEAD)
            file.writelines(f"# fetched {digest} {to}\n" for to, digest in sorted(self.fetched.items()))
            file.writelines(f"{digest}  {name}\n" for name, digest in sorted(self.files.items()))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


def below(name: str, places: tuple[str, ...]) -> bool:
    """Whether the file ``name`` is one of ``places``, or in one that is a folder."""
    return any(name == place or name.startswith(f"{place}/") for place in places)
