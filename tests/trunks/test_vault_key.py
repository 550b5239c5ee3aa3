import base64
import os
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ai_engine.trunks.key import Derivation, Key, VaultError, find_key, generate, of_passphrase

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(32)).decode()


def key_file(path: Path, text: str = KEY, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_environment_is_asked_in_one_order_and_an_empty_variable_is_none(tmp_path: Path) -> None:
    key_file(tmp_path / "offhook-studio-key", OTHER)
    environ = {
        "OFFHOOK_STUDIO_KEY_FILE": str(key_file(tmp_path / "k")),
        "OFFHOOK_STUDIO_KEY": OTHER,
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "OFFHOOK_STUDIO_PASSPHRASE": "correct horse",
    }
    sources = []
    for name in tuple(environ):
        sources.append(find_key(tmp_path, environ).source)
        environ[name] = ""
    sources.append(find_key(tmp_path, environ).source)
    assert sources == [
        str(tmp_path / "k"),
        "OFFHOOK_STUDIO_KEY",
        "the systemd credential offhook-studio-key",
        "OFFHOOK_STUDIO_PASSPHRASE",
        str(tmp_path / "numbers.key"),
    ]


def test_a_key_has_no_secret_in_its_repr() -> None:
    key = of_passphrase("correct horse")
    assert "horse" not in repr(key)
    assert (key.secret, key.derivation) == (b"correct horse", Derivation.SCRYPT)
    assert repr(generate().secret) not in repr(generate())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path / "k", mode=mode)
    with pytest.raises(VaultError, match=f"chmod 600 {path}"):
        find_key(tmp_path, {"OFFHOOK_STUDIO_KEY_FILE": str(path)})


@pytest.mark.parametrize("text", ["geheim", KEY[:-4], KEY + KEY, "schlüssel", "*" * 44])
def test_what_is_no_key_is_refused_and_not_told(tmp_path: Path, text: str) -> None:
    for environ in ({"OFFHOOK_STUDIO_KEY_FILE": str(key_file(tmp_path / "k", text))}, {"OFFHOOK_STUDIO_KEY": text}):
        with pytest.raises(VaultError, match="no base64 of 32 bytes") as caught:
            find_key(tmp_path, environ)
        assert text not in str(caught.value)


def test_a_named_key_file_that_is_not_there_is_an_error_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="cannot be read"):
        find_key(tmp_path, {"OFFHOOK_STUDIO_KEY_FILE": str(tmp_path / "gone")})
    assert not list(tmp_path.iterdir())


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(VaultError, match="8 characters"):
        of_passphrase("horse")


def test_a_key_is_made_once_with_a_warning_that_does_not_tell_it(tmp_path: Path) -> None:
    with capture_logs() as lines:
        first = find_key(tmp_path / "new", {})
        again = find_key(tmp_path / "new", {})
    assert first == again
    path = tmp_path / "new" / "numbers.key"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    (line,) = lines
    assert line["log_level"] == "warning"
    assert path.read_text().strip() not in str(line)
    assert [each.name for each in path.parent.iterdir()] == ["numbers.key"]


def test_no_key_is_made_for_a_store_that_has_lost_its_own(tmp_path: Path) -> None:
    (tmp_path / "numbers.enc").write_bytes(b"something")
    with pytest.raises(VaultError, match="Put .*numbers.key back"):
        find_key(tmp_path, {})
    assert not (tmp_path / "numbers.key").exists()


def test_all_who_make_a_key_at_the_same_time_get_the_same(tmp_path: Path) -> None:
    found: list[Key] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        found.append(find_key(tmp_path, {}))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({key.secret for key in found}) == 1
    assert os.listdir(tmp_path) == ["numbers.key"]
