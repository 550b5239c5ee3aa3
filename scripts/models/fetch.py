"""One model, from its hosts into the models folder."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scripts.models.catalogue import Model, Source
from scripts.models.checksums import sha256_of
from scripts.models.download import Downloader, Watch, settle
from scripts.models.errors import ChecksumError, UnknownModel
from scripts.models.store import Store
from scripts.models.unpack import unpack

CATALOGUE = "the catalogue"


class Witness(Protocol):
    """Who tells the person what happens."""

    def begin(self, source: Source) -> Watch: ...

    def end(self) -> None: ...

    def say(self, line: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Expected:
    """The checksum a source must have, and who says so."""

    sha256: str | None
    by: str


def fetch(model: Model, store: Store, downloader: Downloader, pinned: Mapping[str, str], witness: Witness) -> None:
    """Bring every file of ``model`` that is not here yet, then put it in place whole.

    ``pinned`` are checksums from the command line, as pins() makes them. Raises a ModelError; what has arrived is kept
    for the next time.
    """
    for source in model.files:
        whole = store.whole(model, source)
        whole.parent.mkdir(parents=True, exist_ok=True)
        expected = _expected(source, store, pinned)
        if not (whole.exists() and sha256_of(whole) == expected.sha256):
            part = whole.with_name(whole.name + ".part")
            digest = _bring(model, source, part, expected, downloader, witness)
            store.checksums.pin(source.to, digest)
            settle(part, whole)
    for source in model.files:
        if source.unpack:
            witness.say(f"  unpacking {source.file_name}")
            folder = store.tree(model) / source.to
            shutil.rmtree(folder, ignore_errors=True)
            unpack(store.whole(model, source), source.unpack, folder)
    store.install(model)


def pins(model: Model, given: list[str]) -> dict[str, str]:
    """``HEX`` for a model of one file, ``FILE=HEX`` for one of several. Raises UnknownModel."""
    found: dict[str, str] = {}
    for text in given:
        name, _, digest = text.rpartition("=")
        sources = [source for source in model.files if name in (source.file_name, "")]
        digest = digest.lower()
        if len(sources) != 1:
            names = ", ".join(f"{source.file_name}=HEX" for source in model.files)
            raise UnknownModel(f"--sha256 {text}: which file of {model.title} is meant?", f"One of: {names}")
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise UnknownModel(f"--sha256 {text}: a SHA-256 has 64 hexadecimal digits", "As sha256sum prints it.")
        found[sources[0].to] = digest
    return found


def _expected(source: Source, store: Store, pinned: Mapping[str, str]) -> Expected:
    if source.to in pinned:
        return Expected(pinned[source.to], "--sha256")
    if source.sha256:
        return Expected(source.sha256, CATALOGUE)
    return Expected(store.checksums.fetched.get(source.to), "models/CHECKSUMS")


def _bring(
    model: Model, source: Source, part: Path, expected: Expected, downloader: Downloader, witness: Witness
) -> str:
    """Its SHA-256, once it is in ``part`` and found to be what it should be."""
    bad = part.with_suffix(".bad")
    bad.unlink(missing_ok=True)
    size = source.bytes if expected.by == CATALOGUE else None
    watch = witness.begin(source)
    try:
        announced = downloader.fetch(model.address(source), part, watch, size)
    finally:
        witness.end()
    digest = sha256_of(part)
    if expected.sha256 is None and announced:
        expected = Expected(announced, "its host")
    if expected.sha256 not in (None, digest):
        settle(part, bad)
        raise ChecksumError(
            f"{source.file_name} has sha256 {digest}, and {expected.by} says {expected.sha256}; it lies in {bad}",
            "The same command fetches it anew. If it comes the same again, ask its publisher for the checksum: where "
            f"that is the one received, accept it with --sha256 {source.file_name}={digest}",
        )
    if expected.sha256:
        witness.say(f"  {source.file_name}: sha256 {digest}, as {expected.by} says")
    else:
        witness.say(
            f"  {source.file_name}: sha256 {digest}\n"
            "    Nobody had recorded it: it is trusted this first time, and must be the same from now on."
        )
    return digest
