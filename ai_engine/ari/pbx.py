"""SIP trunks as Asterisk knows them: PJSIP's objects, made, read and removed by ARI."""

from collections.abc import Callable, Iterable, Mapping

from ai_engine.ari.client import Ari
from ai_engine.errors import AsteriskError

_MODULE = "res_pjsip.so"


class AriPbx:
    """Implements ``trunks.reconcile.Pbx``; every coroutine may raise AsteriskError."""

    def __init__(self, ari: Callable[[], Ari | None]) -> None:
        self._find = ari

    async def endpoints(self) -> Mapping[str, str]:
        return await self._ari().pjsip_endpoints()

    async def read(self, kind: str, object_id: str) -> tuple[tuple[str, str], ...] | None:
        return await self._ari().pjsip_object(kind, object_id)

    async def write(self, kind: str, object_id: str, fields: Iterable[tuple[str, str]]) -> None:
        await self._ari().put_pjsip_object(kind, object_id, fields)

    async def delete(self, kind: str, object_id: str) -> bool:
        return await self._ari().delete_pjsip_object(kind, object_id)

    async def reload(self) -> None:
        await self._ari().reload_module(_MODULE)

    def _ari(self) -> Ari:
        ari = self._find()
        if ari is None:
            raise AsteriskError("the engine has not begun to talk to Asterisk")
        return ari
