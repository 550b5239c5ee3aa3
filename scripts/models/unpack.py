"""An archive, without trusting it."""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from scripts.models.download import SPARE
from scripts.models.errors import ArchiveRefused, DiskError

_MOST_FILES = 10_000
_MOST_TIMES = 20
"""What an archive may grow by: models are numbers, which hardly compress; the text beside them does."""
_ALWAYS_ALLOWED = 64 << 20
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    is_folder: bool
    content: IO[bytes] | None


def unpack(archive: Path, form: Literal["zip", "tar"], folder: Path) -> None:
    """The content of ``archive`` becomes ``folder``, which must not exist; a single folder around it all is left out.

    Raises ArchiveRefused for an entry that would lie outside, a link, a device, a name twice, or far too much content;
    DiskError if there is no room. ``folder`` then does not exist, or is to be thrown away.
    """
    inner = folder.with_name(folder.name + ".unpacking")
    shutil.rmtree(inner, ignore_errors=True)
    inner.mkdir(parents=True)
    try:
        _unpack_into(inner, archive, form)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        shutil.rmtree(inner)
        raise ArchiveRefused(f"{archive.name} is damaged, or no {form} archive: {error}", "Fetch it again.") from error
    except BaseException:
        shutil.rmtree(inner)
        raise
    alone = list(inner.iterdir())
    if len(alone) == 1 and alone[0].is_dir():
        alone[0].rename(folder)
        inner.rmdir()
    else:
        inner.rename(folder)


def _unpack_into(folder: Path, archive: Path, form: Literal["zip", "tar"]) -> None:
    limit = max(_ALWAYS_ALLOWED, _MOST_TIMES * archive.stat().st_size)
    room = shutil.disk_usage(folder).free - SPARE
    written = 0
    for count, entry in enumerate(_zip_entries(archive) if form == "zip" else _tar_entries(archive)):
        path = folder / _checked(entry.name)
        if count >= _MOST_FILES:
            raise _refused(f"more than {_MOST_FILES:,} files")
        if entry.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            continue
        if entry.content is None:
            raise _refused(f"{entry.name!r}, a link or a device")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("xb")
        except (FileExistsError, NotADirectoryError) as error:
            raise _refused(f"{entry.name!r} twice") from error
        with file, entry.content as content:
            while block := content.read(_BLOCK):
                written += len(block)
                # Counted as it comes: what an archive says of its sizes proves nothing.
                if written > limit:
                    raise _refused(f"more than {limit:,} bytes")
                if written > room:
                    raise DiskError(f"no room to unpack {archive.name}", "Make room and repeat the command.")
                file.write(block)


def _zip_entries(archive: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1:
                raise _refused(f"{info.filename!r}, which is encrypted")
            plain = kind in (0, stat.S_IFREG)
            yield _Entry(info.filename, info.is_dir(), file.open(info) if plain and not info.is_dir() else None)


def _tar_entries(archive: Path) -> Iterator[_Entry]:
    try:
        with tarfile.open(archive) as file:
            for info in file:
                yield _Entry(info.name, info.isdir(), file.extractfile(info) if info.isreg() else None)
    except OSError as error:
        # bz2 and gzip have no exception of their own for damage.
        if error.errno is None:
            raise tarfile.ReadError(str(error)) from error
        raise


def _checked(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not name.isprintable():
        raise _refused(f"{name!r}, which would lie outside its folder")
    return path


def _refused(content: str) -> ArchiveRefused:
    return ArchiveRefused(
        f"the archive was refused: it holds {content}", "Nothing of it was kept. Do not use this source."
    )
