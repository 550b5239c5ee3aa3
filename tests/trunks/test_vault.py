import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.trunks import vault as vault_module
from ai_engine.trunks.key import Derivation, Key, VaultError, find_key, generate, of_passphrase
from ai_engine.trunks.sealed import seal, unseal
from ai_engine.trunks.vault import Vault

KEY = Key(bytes(range(32)), Derivation.HKDF, "a key of the test")
PLAIN = b'{"password": "geheim"}'
SEALED = seal(PLAIN, KEY)


def in_folder(folder: Path) -> Vault:
    return Vault(folder / "numbers.enc", lambda: find_key(folder, {}))


def filled(folder: Path, plain: bytes = PLAIN) -> Vault:
    vault = in_folder(folder)
    vault.update(lambda _: plain)
    return vault


@given(st.integers(0, len(SEALED) * 8 - 1))
def test_any_flipped_bit_is_an_error(bit: int) -> None:
    altered = bytearray(SEALED)
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VaultError):
        unseal(bytes(altered), KEY)


@given(st.integers(0, len(SEALED) - 1), st.binary(max_size=200))
def test_cut_short_or_followed_by_more_is_an_error(length: int, more: bytes) -> None:
    with pytest.raises(VaultError):
        unseal(SEALED[:length], KEY)
    if more:
        with pytest.raises(VaultError):
            unseal(SEALED + more, KEY)


@given(st.binary(max_size=400))
def test_whatever_else_stands_in_the_file_is_an_error(data: bytes) -> None:
    with pytest.raises(VaultError):
        unseal(data, KEY)


@given(st.binary(max_size=2000))
def test_what_was_sealed_is_unsealed_and_never_looks_the_same(plain: bytes) -> None:
    first, second = seal(plain, KEY), seal(plain, KEY)
    assert unseal(first, KEY) == unseal(second, KEY) == plain
    assert first[10:38] != second[10:38]
    assert len(plain) < 4 or plain not in first[38:], "what is sealed can be read"


def test_a_passphrase_opens_what_it_closed_and_no_other_does() -> None:
    sealed = seal(PLAIN, of_passphrase("correct horse"))
    assert unseal(sealed, of_passphrase("correct horse")) == PLAIN
    with pytest.raises(VaultError, match="not the key"):
        unseal(sealed, of_passphrase("wrong horse"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut short"),
        (b"PK\x03\x04" + bytes(100), "no store of numbers"),
        (SEALED[:8] + b"\x02" + SEALED[9:], "version is 2"),
        (seal(PLAIN, of_passphrase("correct horse")), "locked with a passphrase"),
        (SEALED[:9] + b"\x09" + SEALED[10:], "something unknown"),
        (seal(PLAIN, generate()), "not the key"),
    ],
    ids=["empty", "another kind", "newer", "passphrase", "unknown", "another key"],
)
def test_what_is_wrong_is_said_with_what_to_do_and_nothing_is_overwritten(
    tmp_path: Path, data: bytes, says: str
) -> None:
    path = tmp_path / "numbers.enc"
    path.write_bytes(data)
    vault = Vault(path, lambda: KEY)
    attempts: list[Callable[[], object]] = [
        vault.read,
        lambda: vault.update(lambda _: b"lost"),
        lambda: vault.rotate(generate()),
        lambda: vault.rotate(of_passphrase("correct horse")),
    ]
    for attempt in attempts:
        with pytest.raises(VaultError, match=f"{says}.*Nothing was overwritten.*backup"):
            attempt()
    assert path.read_bytes() == data
    assert {each.name for each in tmp_path.iterdir()} == {"numbers.enc", "numbers.lock"}


def test_nothing_there_is_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    vault = in_folder(tmp_path / "none")
    assert vault.read() is None
    assert vault.stamp() == ""
    assert not (tmp_path / "none").exists()


def test_files_are_ours_alone_even_where_they_were_not(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    vault = filled(folder)
    (folder / "numbers.enc").chmod(0o644)
    vault.update(lambda plain: plain)
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_stamp_changes_with_every_write_and_with_no_read(tmp_path: Path) -> None:
    vault = filled(tmp_path)
    stamps = [vault.stamp()]
    for _ in range(50):
        assert vault.read() == PLAIN
        assert vault.stamp() == stamps[-1]
        vault.update(lambda plain: plain)
        stamps.append(vault.stamp())
    assert len(set(stamps)) == len(stamps)


def test_a_change_that_fails_or_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    vault = filled(tmp_path)
    stamp = vault.stamp()
    vault.update(lambda _: None)

    def fail(_: bytes | None) -> bytes:
        raise KeyError("not found")

    with pytest.raises(KeyError):
        vault.update(fail)
    assert vault.stamp() == stamp


def test_a_lock_that_is_kept_is_an_error_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = filled(tmp_path)
    monkeypatch.setattr(vault_module, "_PATIENCE_SECONDS", 0.05)

    def nested(plain: bytes | None) -> None:
        with pytest.raises(VaultError, match="another process has kept it locked"):
            vault.read()

    vault.update(nested)
    assert vault.read() == PLAIN


def test_where_nothing_can_be_written_the_reason_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VaultError, match="cannot be written"):
        Vault(tmp_path / "file" / "numbers.enc", lambda: KEY).update(lambda _: PLAIN)


def test_a_generated_key_gives_way_to_a_new_one(tmp_path: Path) -> None:
    vault = filled(tmp_path)
    before = (tmp_path / "numbers.key").read_text()
    vault.rotate(generate())
    assert vault.read() == PLAIN
    assert (tmp_path / "numbers.key").read_text() != before
    assert {each.name for each in tmp_path.iterdir()} == {"numbers.enc", "numbers.key", "numbers.lock"}
    assert (tmp_path / "numbers.key").stat().st_mode & 0o777 == 0o600


def test_a_passphrase_takes_over_and_the_key_beside_the_store_goes(tmp_path: Path) -> None:
    filled(tmp_path).rotate(of_passphrase("correct horse"))
    assert not (tmp_path / "numbers.key").exists()
    environ = {"OFFHOOK_STUDIO_PASSPHRASE": "correct horse"}
    assert Vault(tmp_path / "numbers.enc", lambda: find_key(tmp_path, environ)).read() == PLAIN
    with pytest.raises(VaultError, match="its key is not here"):
        in_folder(tmp_path).read()


def test_a_key_that_is_kept_elsewhere_must_be_changed_there(tmp_path: Path) -> None:
    environ = {"OFFHOOK_STUDIO_PASSPHRASE": "correct horse"}
    vault = Vault(tmp_path / "numbers.enc", lambda: find_key(tmp_path, environ))
    vault.update(lambda _: PLAIN)
    with pytest.raises(VaultError, match="comes from OFFHOOK_STUDIO_PASSPHRASE"):
        vault.rotate(generate())
    assert vault.read() == PLAIN


def test_a_store_that_does_not_exist_has_no_key_to_change(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="no store yet"):
        in_folder(tmp_path).rotate(generate())


class Killed(BaseException):
    """What a kill looks like from outside: nothing after it is done."""


_STEPS = 7  # fsync or rename, of key and store and their folder


@pytest.mark.parametrize("survives", range(_STEPS))
def test_killed_anywhere_in_a_rotation_the_store_opens_and_the_next_one_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    vault = filled(tmp_path)
    steps = 0
    real_fsync, real_replace = os.fsync, Path.replace

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps > survives:
            raise Killed

    def fsync(handle: int) -> None:
        step()
        real_fsync(handle)

    def replace(path: Path, target: Path) -> Path:
        step()
        return real_replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        patched.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            vault.rotate(generate())
    assert vault.read() == PLAIN
    vault.update(lambda plain: plain)
    assert vault.read() == PLAIN
    vault.rotate(generate())
    assert vault.read() == PLAIN
    assert not (tmp_path / "numbers.key.new").exists()
