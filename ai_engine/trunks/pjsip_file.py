"""Trunks written into a file that Asterisk includes, where a folder is shared."""

import asyncio
import os
import re
import tempfile
from collections.abc import Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import Literal

from ai_engine.trunks.compare import lacking, stands
from ai_engine.trunks.owner import give
from ai_engine.trunks.pjsip import conf_text
from ai_engine.trunks.pjsip_push import NotApplied, PushedTrunks
from ai_engine.trunks.ports import Done, Pbx, Wanted

FILE = "offhook-studio.conf"
_HEAD = "; Written by Offhook: its numbers, with their passwords. What is changed here is lost; use `studio number`.\n"
_MARK = "; --- "
_REGISTRATION = re.compile(r"^\[.+\]\ntype = registration\n(.+\n)*\n?", re.MULTILINE)
_GOODBYE_SECONDS = 0.3
_LOOKS, _LOOK_SECONDS = 20, 0.05


class WrittenTrunks:
    """Implements ``Backend``: one file in ``directory``, which Asterisk reads with ``#tryinclude``."""

    name: Literal["file", "ari"] = "file"

    def __init__(self, directory: Path, pbx: Pbx) -> None:
        self._path = directory / FILE
        self._pbx = pbx
        self.missing = (
            f"it stands in {self._path}, but Asterisk does not have it: its pjsip.conf needs the line"
            " '#tryinclude pjsip.d/*.conf' for that folder, and its user must be able to read the file; what is wrong"
            " in a file is named in Asterisk's log"
        )

    async def apply(self, wanted: Wanted, orphans: Set[str]) -> Done:
        known = await self._pbx.endpoints()
        blocks = {object_id: conf_text(objects) for object_id, objects in wanted.items()}
        try:
            before = await asyncio.to_thread(_blocks, self._path)
            await self._remove_pushed(set(known) & {*wanted, *orphans} - set(before))
            await self._end_registrations(before, blocks)
            if before != blocks:
                await asyncio.to_thread(_write, self._path, blocks)
        except OSError as error:
            text = f"{self._path} cannot be written: {error.strerror}; see studio.pjsip_directory"
            return Done(failures=dict.fromkeys({*wanted, *orphans}, text))
        if before != blocks or orphans & set(known) or not await self._all_stand(wanted, known):
            await self._pbx.reload()
            await self._settled(set(wanted))
        failures = await self._failures(wanted)
        written = tuple(object_id for object_id, text in blocks.items() if before.get(object_id) != text)
        return Done(written, tuple(object_id for object_id in before if object_id not in blocks), failures)

    async def _end_registrations(self, before: Mapping[str, str], blocks: Mapping[str, str]) -> None:
        """Of the trunks that change or go, while Asterisk still has their passwords: the carrier asks for one.

        One that was refused must end, too: with a new password alone it would not be tried anew for minutes.
        """
        ending = {
            object_id: _REGISTRATION.sub("", text)
            for object_id, text in before.items()
            if blocks.get(object_id) != text
        }
        between = {**before, **ending}
        if between != before:
            await asyncio.to_thread(_write, self._path, between)
            await self._pbx.reload()
            await asyncio.sleep(_GOODBYE_SECONDS)

    async def _remove_pushed(self, object_ids: Set[str]) -> None:
        """What Asterisk has that was in no file of ours: it was pushed before the folder was shared."""
        for object_id in sorted(object_ids):
            with suppress(NotApplied):
                await PushedTrunks(self._pbx).remove(object_id)

    async def _all_stand(self, wanted: Wanted, known: Mapping[str, str]) -> bool:
        """A reload may have been missed: Asterisk was away when the file was written."""
        for object_id, objects in wanted.items():
            if object_id not in known or not await stands(self._pbx, object_id, objects):
                return False
        return True

    async def _failures(self, wanted: Wanted) -> dict[str, str]:
        """A trunk of which Asterisk has a part; one of which it has nothing is ``missing``."""
        failures = {}
        for object_id, objects in wanted.items():
            lacks = await lacking(self._pbx, object_id, objects)
            if lacks and "endpoint" not in lacks:
                failures[object_id] = (
                    f"Asterisk has it, but not its {' and '.join(lacks)}: its log says why; does the carrier's name"
                    " resolve there, and are the modules loaded (docs/snippets/modules.conf)?"
                )
        return failures

    async def _settled(self, wanted: Set[str]) -> None:
        """A reload may be answered before it is done; what is wrong in the file never comes."""
        for _ in range(_LOOKS):
            if wanted <= set(await self._pbx.endpoints()):
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _blocks(path: Path) -> dict[str, str]:
    """What stands in the file by the ids of the trunks."""
    try:
        text = path.read_text(
            encoding="utf-8", errors="replace"
        )  # a block that is damaged differs from what it should be
    except FileNotFoundError:
        return {}
    parts = re.split(rf"^{_MARK}(\S+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _write(path: Path, blocks: Mapping[str, str]) -> None:
    """All at once, for the owner of the folder alone: Asterisk's user, where we are root."""
    if not blocks:
        path.unlink(missing_ok=True)
        return
    text = _HEAD + "".join(f"{_MARK}{object_id}\n{block}" for object_id, block in blocks.items())
    # The name must not end in .conf: Asterisk may read the folder at any time.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
            give(handle, path.parent)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
