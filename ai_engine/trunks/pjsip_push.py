"""Trunks pushed into Asterisk over ARI, where no folder is shared: they live in its memory, and go with it."""

import asyncio
from collections.abc import Awaitable, Sequence, Set
from typing import Literal

from ai_engine.errors import AsteriskError
from ai_engine.trunks.compare import stands
from ai_engine.trunks.pjsip import PjsipObject
from ai_engine.trunks.ports import Done, Pbx, Wanted

_REFUSALS = (400, 403, 404, 409)
"""Asterisk was asked, and does not want this; anything else may be trouble with Asterisk itself."""

_NOT_ALLOWED = (
    "Asterisk takes no PJSIP objects over ARI: add the lines of docs/snippets/sorcery.conf to its sorcery.conf and"
    " restart it, or set studio.pjsip_directory to a folder that both can reach (docs/studio.md)"
)

_IN_A_FILE = (
    "it stands in a file that Asterisk reads, and cannot be changed over ARI: set studio.pjsip_directory to the folder"
    " of that file, or remove the file and reload Asterisk"
)
_SLOW = ": is Asterisk looking for the carrier's name, and does its name server answer?"
_NOT_LOADED = ": are res_pjsip_outbound_registration.so and res_pjsip_endpoint_identifier_ip.so loaded in Asterisk?"
_GOODBYE_SECONDS = 0.3


class PushedTrunks:
    """Implements ``Backend``."""

    name: Literal["file", "ari"] = "ari"
    missing = "Asterisk has lost it: it is pushed again at the next connection to Asterisk"

    def __init__(self, pbx: Pbx) -> None:
        self._pbx = pbx

    async def apply(self, wanted: Wanted, orphans: Set[str]) -> Done:
        failures: dict[str, str] = {}
        removed = [each for each in sorted(orphans) if await self._attempt(each, failures, self.remove(each))]
        written = [
            object_id
            for object_id, objects in wanted.items()
            if await self._attempt(object_id, failures, self._bring(object_id, objects))
        ]
        return Done(tuple(written), tuple(removed), failures)

    async def _attempt(self, object_id: str, failures: dict[str, str], work: Awaitable[bool]) -> bool:
        """Whether something was done; what is about this trunk alone is noted, and the others go on."""
        try:
            return await work
        except NotApplied as refusal:
            failures[object_id] = str(refusal)
        except AsteriskError as error:
            if error.status not in _REFUSALS and not await self._answers():
                raise
            hint = {0: _SLOW, 403: _NOT_ALLOWED, 404: _NOT_LOADED}.get(error.status, "")
            failures[object_id] = hint if error.status == 403 else f"it cannot be applied: {error}{hint}"
        return False

    async def _answers(self) -> bool:
        try:
            await self._pbx.endpoints()
        except AsteriskError:
            return False
        return True

    async def _bring(self, object_id: str, objects: Sequence[PjsipObject]) -> bool:
        if await stands(self._pbx, object_id, objects):
            return False
        await self._replace(object_id, objects)
        return True

    async def _replace(self, object_id: str, objects: Sequence[PjsipObject]) -> None:
        # Anew, all of them: a change leaves attributes standing that it does not name, and a registration that was
        # refused tries a new password only when it is a new one.
        await self.remove(object_id)
        for each in objects:
            try:
                await self._pbx.write(each.kind, object_id, each.fields)
            except AsteriskError as error:
                if error.status != 400:
                    raise
                culprit = await self._culprit(each)
                await self.remove(object_id)
                raise NotApplied(f"Asterisk refuses {each.kind} {object_id}: {culprit}") from error

    async def remove(self, object_id: str) -> bool:
        """Whether anything was there; raises NotApplied where it stands in a file."""
        # The endpoint goes last: as long as it stands it can be told that something is left.
        try:
            found = [await self._pbx.delete("registration", object_id)]
            if any(found):  # the carrier is told goodbye, and asks who we are
                await asyncio.sleep(_GOODBYE_SECONDS)
            found += [await self._pbx.delete(kind, object_id) for kind in ("identify", "aor", "auth", "endpoint")]
        except AsteriskError as error:
            if error.status == 403:
                raise NotApplied(_IN_A_FILE) from error
            raise
        return any(found)

    async def _culprit(self, refused: PjsipObject) -> str:
        """Asterisk does not say which attribute it is, so each is offered alone; its value may be secret."""
        if refused.kind == "identify":
            return "does the name of the carrier resolve there? Its log says more"
        if refused.kind == "registration":  # it is of no use without the rest
            return "its log says which attribute is wrong"
        for name, value in refused.fields:
            try:
                await self._pbx.write(refused.kind, refused.id, ((name, value),))
            except AsteriskError as error:
                if error.status != 400:
                    raise
                hint = ": is the codec's module loaded?" if name == "allow" else "; its log says more"
                return f"attribute {name!r}{hint}"
            await self._pbx.delete(refused.kind, refused.id)  # half an object takes no second attribute
        return "its log says which attribute is wrong"


class NotApplied(Exception):
    """Something about one trunk is wrong; ``str()`` is for the operator."""
