"""Files in a directory that other engines may use, and other programs fill."""

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.errors import MediaError
from ai_engine.transports import sound_files
from ai_engine.transports.sound_files import SoundFiles, SoundFilesSettings
from tests.waiting import until


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[SoundFiles]:
    store = SoundFiles(SoundFilesSettings(tmp_path / "media"))
    await store.open()
    yield store
    await store.close()


def everything(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def sounds(directory: Path) -> list[Path]:
    return [path for path in everything(directory) if path.suffix != ".lock"]


def path_of(uri: str, extension: str) -> Path:
    assert uri.startswith("sound:/")
    return Path(f"{uri.removeprefix('sound:')}.{extension}")


@pytest.mark.parametrize(("format", "extension"), [(SLIN8, "sln"), (SLIN16, "sln16")])
async def test_a_file_is_there_whole_and_for_all_to_read(
    files: SoundFiles, tmp_path: Path, format: AudioFormat, extension: str
) -> None:
    before = os.umask(0o077)
    try:
        uri = await files.put("1795223441.17-3", b"\1\2" * 800, format)
    finally:
        os.umask(before)
    path = path_of(uri, extension)
    assert path.read_bytes() == b"\1\2" * 800
    assert path.parent == tmp_path / "media"
    assert path.stat().st_mode & 0o777 == 0o644
    assert sounds(tmp_path / "media") == [path]
    files.remove(uri)
    files.remove(uri)
    files.remove("sound:/etc/passwd")
    await until(lambda: not path.exists())
    await until(lambda: files.counters["removed"] == 1)
    assert files.health() == {
        "usable": True, "trouble": "", "files": 0, "bytes": 0, "written": 1, "removed": 1, "failed": 0, "swept": 0,
    }  # fmt: skip


async def test_asterisk_may_see_the_directory_elsewhere(tmp_path: Path) -> None:
    store = SoundFiles(SoundFilesSettings(tmp_path, Path("/mnt/sounds")))
    await store.open()
    uri = await store.put("call-1", bytes(320), SLIN8)
    assert uri.startswith("sound:/mnt/sounds/offhook-")
    assert uri.endswith("-call-1")
    assert len(sounds(tmp_path)) == 1
    await store.close()
    assert everything(tmp_path) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".x", "a b", "a,b", "a&b", "a\0b", "ü", "x" * 151])
async def test_names_that_are_none(files: SoundFiles, tmp_path: Path, name: str) -> None:
    with pytest.raises(MediaError, match="no sound file can be called"):
        await files.put(name, bytes(320), SLIN8)
    assert sounds(tmp_path / "media") == []
    assert files.counters["failed"] == 1


async def test_a_name_is_given_once_and_a_rate_is_one_asterisk_knows(files: SoundFiles) -> None:
    await files.put("a", bytes(320), SLIN8)
    with pytest.raises(MediaError):
        await files.put("a", bytes(320), SLIN8)
    with pytest.raises(MediaError):
        await files.put("b", bytes(320), AudioFormat(22050))


async def test_there_is_a_bound(tmp_path: Path) -> None:
    store = SoundFiles(SoundFilesSettings(tmp_path, most_bytes=1000))
    await store.open()
    uri = await store.put("a", bytes(600), SLIN8)
    with pytest.raises(MediaError, match="already have 600 bytes"):
        await store.put("b", bytes(600), SLIN8)
    store.remove(uri)
    await store.put("b", bytes(600), SLIN8)
    await store.close()


async def test_a_disk_that_takes_no_more(files: SoundFiles, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(MediaError, match=r"media/offhook-.*\.sln: File too large"):
            await files.put("a", bytes(100_000), SLIN8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sounds(tmp_path / "media") == []
    assert not files.usable
    assert files.health()["bytes"] == 0
    await files.put("b", bytes(100_000), SLIN8)
    assert files.usable


async def test_a_directory_that_comes_and_goes(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("a file")
    store = SoundFiles(SoundFilesSettings(tmp_path / "here" / "media"))
    await store.open()
    assert not store.usable
    assert "Not a directory" in store.trouble
    with pytest.raises(MediaError, match="Not a directory"):
        await store.put("a", bytes(320), SLIN8)
    (tmp_path / "here").unlink()
    await store.put("a", bytes(320), SLIN8)
    assert store.usable
    for path in (tmp_path / "here" / "media").iterdir():
        path.unlink()
    (tmp_path / "here" / "media").rmdir()
    with pytest.raises(MediaError, match="No such file"):
        await store.put("b", bytes(320), SLIN8)
    await store.put("c", bytes(320), SLIN8)
    await store.close()
    assert everything(tmp_path / "here" / "media") == []


async def test_a_disk_that_does_not_answer(files: SoundFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_files, "_DISK_SECONDS", 0.05)
    os.mkfifo(tmp_path / "stuck")
    files._thread.submit((tmp_path / "stuck").read_bytes)
    with pytest.raises(MediaError, match="did not answer"):
        await files.put("a", bytes(320), SLIN8)
    monkeypatch.setattr(sound_files, "_DISK_SECONDS", 5.0)
    (tmp_path / "stuck").write_bytes(b"")
    await files.put("b", bytes(320), SLIN8)
    assert len(sounds(tmp_path / "media")) == 1


async def test_whoever_gives_up_waiting_leaves_no_file(files: SoundFiles, tmp_path: Path) -> None:
    for number in range(20):
        putting = asyncio.create_task(files.put(f"a-{number}", bytes(100_000), SLIN8))
        await asyncio.sleep(0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
    await files.put("last", bytes(320), SLIN8)
    await until(lambda: len(sounds(tmp_path / "media")) == 1)
    assert files.health()["bytes"] == 320


async def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    living = SoundFiles(SoundFilesSettings(tmp_path))
    await living.open()
    kept = path_of(await living.put("call-1", bytes(320), SLIN8), "sln")
    killed = f"""
import asyncio, os, signal
from pathlib import Path
from ai_engine.audio.format import SLIN16
from ai_engine.transports.sound_files import SoundFiles, SoundFilesSettings
async def main():
    store = SoundFiles(SoundFilesSettings(Path({str(tmp_path)!r})))
    await store.open()
    await store.put("call-2", bytes(320), SLIN16)
    await store.put("call-3", bytes(320), SLIN16)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", killed], check=False)
    (tmp_path / "offhook-0123456789ab-call-4.part").write_bytes(b"half")
    others = [tmp_path / name for name in ("welcome.sln", "offhook-welcome.sln", "offhook-0123456789ab-x.wav")]
    for path in others:
        path.write_bytes(b"somebody's")
    assert len(sounds(tmp_path)) == 4 + len(others)
    store = SoundFiles(SoundFilesSettings(tmp_path))
    await store.open()
    assert store.counters["swept"] == 3
    assert sounds(tmp_path) == sorted([kept, *others])
    await living.close()
    await store.close()
    assert everything(tmp_path) == sorted(others)
    with pytest.raises(MediaError):
        await store.put("a", bytes(320), SLIN8)
    store.remove("sound:/x")
    await store.close()
