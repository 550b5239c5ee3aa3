"""Files that root writes into a folder of the engine's user are that user's."""

import os
from pathlib import Path

import pytest

from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NumberStore
from ai_engine.trunks.vault import VaultError

THEIRS = 10001


def test_the_engines_user_can_use_what_root_has_brought(tmp_path: Path) -> None:
    """Nobody but root can see the difference: without it all of it is ours."""
    folder = tmp_path / "studio"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, THEIRS, THEIRS)
    store = NumberStore(folder, {})
    store.add(SipNumber(number="+15550100199", address="192.0.2.1"))
    store.change("+15550100199", label="x")
    owner = folder.stat().st_uid
    assert {path.name: path.stat().st_uid for path in folder.iterdir()} == {
        "numbers.enc": owner,
        "numbers.key": owner,
        "numbers.lock": owner,
    }


def test_a_lock_that_is_a_link_is_followed_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    (tmp_path / "numbers.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(VaultError, match="cannot be written"):
        NumberStore(tmp_path, {}).add(SipNumber(number="+15550100199", address="192.0.2.1"))


def test_a_store_that_may_not_be_looked_at_is_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))  # root may look at everything

    store = NumberStore(tmp_path, {})
    store.add(SipNumber(number="+15550100199", address="192.0.2.1"))
    monkeypatch.setattr(Path, "exists", refused)
    with pytest.raises(VaultError, match="cannot be read"):
        store.numbers()
