"""What /health says of the directory shared with Asterisk."""

from pathlib import Path

import pytest

from ai_engine.observe.media_directory import check_media_directory


def test_usable(tmp_path: Path) -> None:
    found = check_media_directory(tmp_path)
    assert (found["path"], found["exists"], found["writable"]) == (str(tmp_path), True, True)
    assert found["tmpfs"] in (True, False)


def test_missing(tmp_path: Path) -> None:
    found = check_media_directory(tmp_path / "nowhere")
    assert (found["exists"], found["writable"], found["tmpfs"]) == (False, False, None)


def test_tmpfs() -> None:
    if "/dev/shm tmpfs" not in Path("/proc/self/mounts").read_text():
        pytest.skip("no tmpfs here")
    assert check_media_directory(Path("/dev/shm"))["tmpfs"] is True
