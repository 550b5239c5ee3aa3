"""A convo.toml in our own terms: an agent, and the provider or pipeline it is run by."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from yarl import URL

from ai_engine.config.convo import Convo, ConvoAgent, Free, Llm, McpServer, Vendor
from ai_engine.config.convo_mapped import Mapped
from ai_engine.config.convo_unused import not_applicable
from ai_engine.config.model import Place
from ai_engine.config.providers import LLM, STT, TTS
from ai_engine.providers.openai_realtime import OpenAIRealtimeSettings
from ai_engine.settings import Section

_OWN_MODEL_HOST = "api.openai.com"
_PARTS = {"asr": "stt", "llm": "llm", "tts": "tts"}
"""What a cascade is made of: its tables, and what they are called in a pipeline."""

_SAME = {"keyterm": "keyterms", "endpointing": "endpointing_ms", "max_completion_tokens": "max_tokens"}
"""Vendors' names for what is called otherwise here."""


def mapped(name: str, convo: Convo, written: Mapping[str, Any]) -> Mapped:
    """The agent ``name`` that ``convo`` describes; ``written`` is the same as plain data, without defaults."""
    mapping = _Mapping(name, convo)
    mapping.out.odd += not_applicable(written)
    mapping.map()
    return mapping.out


class _Mapping:
    def __init__(self, name: str, convo: Convo) -> None:
        self._name = name
        self._convo = convo
        self.out = Mapped()

    def map(self) -> None:
        agent = self._convo.agent
        self._hearing(agent)
        match self._pipeline():
            case "mllm":
                self._without(agent, _PARTS)
                self._mllm(agent.mllm or Vendor())
            case "cascaded":
                self._without(agent, ("mllm",))
                self._cascade(agent)

    def _pipeline(self) -> str:
        """Which of the two it is; empty where the engine's own provider runs it."""
        agent, wanted = self._convo.agent, self._convo.atem.pipeline
        there = {"mllm": agent.mllm is not None, "cascaded": any(getattr(agent, part) for part in _PARTS)}
        if wanted is not None:
            if not there[wanted]:
                table = "[agent.mllm]" if wanted == "mllm" else "[agent.llm], [agent.asr] and [agent.tts]"
                self.out.wrong.append((("atem", "pipeline"), f"{wanted} needs {table}"))
                return ""
            return wanted
        if all(there.values()):
            why = 'there are tables for both: write pipeline = "cascaded" or pipeline = "mllm"'
            self.out.wrong.append((("atem", "pipeline"), why))
            return ""
        return next((name for name, is_there in there.items() if is_there), "")

    def _without(self, agent: ConvoAgent, tables: Iterable[str]) -> None:
        for table in tables:
            if getattr(agent, table) is not None:
                self.out.odd.append((("agent", table), "the other pipeline is chosen"))

    def _hearing(self, agent: ConvoAgent) -> None:
        """When a turn is over, and when a call without words is."""
        if agent.idle_timeout_secs:
            self.out.put(("idle_seconds",), agent.idle_timeout_secs, ("agent", "idle_timeout_secs"))
        elif agent.idle_timeout_secs == 0:
            self.out.odd.append((("agent", "idle_timeout_secs"), "0: `no_input` of the configuration decides"))
        for key, value in self._convo.vad.items():
            if key == "silence_duration_ms":
                self.out.put(("end_silence_ms",), value, ("vad", key))
            else:
                self.out.odd.append((("vad", key), "it is `vad` and `barge_in` of the configuration, for all agents"))

    # -- the two pipelines -----------------------------------------------------------------------------------

    def _mllm(self, table: Vendor) -> None:
        source = ("agent", "mllm")
        if table.vendor not in (None, "openai"):
            why = f"there is no model of {table.vendor!r} that hears and speaks here (known here: openai)"
            self.out.wrong.append(((*source, "vendor"), why))
            return
        name = f"{self._name}.mllm"
        place = ("providers", name)
        self.out.put(("provider",), name, source)
        self.out.put((*place, "type"), "openai_realtime", source)
        params = dict(table.params)
        if (url := self._url(table.url, source)) is not None:
            address = re.sub(r"^http", "ws", str(url.with_query(None))).rstrip("/").removesuffix("/realtime")
            self.out.put((*place, "url"), address, (*source, "url"))
            if model := url.query.get("model"):
                params.setdefault("model", model)
            if url.query.keys() - {"model"}:
                why = "what follows the question mark is not passed on, but for `model`"
                self.out.odd.append(((*source, "url"), why))
        self._key(place, table, params, source)
        if (instructions := params.pop("instructions", None)) is not None:
            self.out.put(("prompt",), instructions, (*source, "params", "instructions"))
        self._params(place, OpenAIRealtimeSettings, params, source)
        self._words(table, source)
        self._features(())

    def _cascade(self, agent: ConvoAgent) -> None:
        absent = [f"[agent.{part}]" for part in _PARTS if getattr(agent, part) is None]
        if absent:
            why = f'a cascade needs {" and ".join(absent)}, too (vendor = "local" for the engine\'s own)'
            self.out.wrong.append((("agent",), why))
            return
        name = f"{self._name}.cascaded"
        self.out.put(("provider",), name, ("agent",))
        assert agent.llm is not None
        assert agent.asr is not None
        assert agent.tts is not None
        self._listener(("pipelines", name, "stt"), agent.asr)
        self._model(("pipelines", name, "llm"), agent.llm)
        self._speaker(("pipelines", name, "tts"), agent.tts)
        for table, value in (("tts", agent.tts), ("asr", agent.asr), ("llm", agent.llm)):
            self._words(value, ("agent", table))
        self._features(agent.llm.mcp_servers)

    def _listener(self, place: tuple[str, ...], table: Vendor) -> None:
        source = ("agent", "asr")
        vendor = self._vendor(table.vendor, ("deepgram", "deepgram_flux", "local"), "speech to text", source)
        if vendor == "deepgram" and str(table.params.get("model", "")).startswith("flux"):
            vendor = "deepgram_flux"
        self._part(place, vendor, STT, table, source, ("/v1/listen", "/v2/listen"))

    def _model(self, place: tuple[str, ...], table: Llm) -> None:
        source = ("agent", "llm")
        vendor = self._vendor(table.vendor or "openai", ("openai", "local"), "language model", source)
        self._part(place, vendor, LLM, table, source, ("/chat/completions",))
        url = self._url(table.url, source)
        if vendor == "openai" and url is not None and url.host != _OWN_MODEL_HOST:
            self.out.data["pipelines"][place[1]]["llm"].setdefault("key", None)
        prompt = [one.content for one in table.system_messages if one.role == "system"]
        if prompt:
            self.out.put(("prompt",), "\n\n".join(prompt), (*source, "system_messages"))
        for index, one in enumerate(table.system_messages):
            if one.role != "system":
                why = "only messages of the role `system` are instructions"
                self.out.odd.append(((*source, "system_messages", index), why))

    def _speaker(self, place: tuple[str, ...], table: Vendor) -> None:
        source = ("agent", "tts")
        vendor = self._vendor(table.vendor, ("deepgram", "openai", "local"), "text to speech", source)
        self._part(place, vendor, TTS, table, source, ("/audio/speech", "/v1/speak"))

    # -- what their tables have in common --------------------------------------------------------------------

    def _vendor(self, name: str | None, known: tuple[str, ...], what: str, source: Place) -> str:
        """Empty, and a problem, where we have no such."""
        if name in known:
            return str(name)
        why = "must be set" if name is None else f"there is no {what} of {name!r} here"
        self.out.wrong.append(((*source, "vendor"), f"{why} (known here: {', '.join(known)})"))
        return ""

    def _url(self, written: str | None, source: Place) -> URL | None:
        """None, and a problem, for what is none."""
        try:
            return None if written is None else URL(written)
        except ValueError as error:
            self.out.wrong.append(((*source, "url"), str(error)))
            return None

    def _part(
        self,
        place: tuple[str, ...],
        vendor: str,
        kinds: Mapping[str, Any],
        table: Vendor | Llm,
        source: Place,
        ends: tuple[str, ...],
    ) -> None:
        if not vendor:
            return
        settings: type[Section] = kinds[vendor].settings
        self.out.put((*place, "type"), vendor, source)
        if table.url is not None and "url" in settings.model_fields:
            address, _, query = table.url.partition("?")
            for end in ends:
                address = address.rstrip("/").removesuffix(end)
            self.out.put((*place, "url"), address, (*source, "url"))
            if query:
                self.out.odd.append(((*source, "url"), "what follows the question mark belongs into `params`"))
        params = dict(table.params)
        if "key" in settings.model_fields:
            self._key(place, table, params, source)
        self._params(place, settings, params, source)

    def _key(self, place: tuple[str, ...], table: Vendor | Llm, params: dict[str, Any], source: Place) -> None:
        at: Place = (*source, "api_key")
        value = None if table.api_key is None else table.api_key.get_secret_value()
        for name in ("api_key", "key"):  # some vendors have it there
            if (other := params.pop(name, None)) is not None and value is None:
                value, at = str(other), (*source, "params", name)
        self.out.sources[(*place, "key")] = at
        if value:
            self.out.put((*place, "key"), self.out.secret(value, self._variable(*map(str, source[1:]), "key")), at)

    def _params(self, place: tuple[str, ...], settings: type[Section], params: Free, source: Place) -> None:
        known = settings.model_fields.keys() - {"type", "url", "key", "extra"}
        for name, value in params.items():
            at = (*source, "params", name)
            ours = name if name in known else _SAME.get(name, "")
            if ours in known:
                several = ours == "keyterms" and isinstance(value, str)
                self.out.put((*place, ours), [value] if several else value, at)
            elif "extra" in settings.model_fields:
                self.out.put((*place, "extra", name), value, at)
            else:
                self.out.odd.append((at, f"it is not passed on (known here: {', '.join(sorted(known))})"))

    def _words(self, table: Vendor | Llm, source: Place) -> None:
        if table.greeting_message is not None:
            self.out.put(("greeting",), table.greeting_message, (*source, "greeting_message"))
        if isinstance(table, Vendor):
            if table.language is not None:
                self.out.put(("language",), table.language, (*source, "language"))
            if table.avatar_id is not None:
                self.out.odd.append(((*source, "avatar_id"), "a telephone shows no face"))

    # -- tools -----------------------------------------------------------------------------------------------

    def _features(self, servers: tuple[McpServer, ...]) -> None:
        """``servers`` unless `enable_tools` turns them off."""
        features = self._convo.advanced_features
        for key in features:
            if key != "enable_tools":
                self.out.odd.append((("advanced_features", key), "it is for the vendor's engine"))
        llm = self._convo.agent.llm
        if servers and features.get("enable_tools") is False:
            self.out.odd.append((("agent", "llm", "mcp_servers"), "advanced_features.enable_tools is false"))
        elif not servers and llm is not None and llm.mcp_servers:
            self.out.odd.append((("agent", "llm", "mcp_servers"), "they are for a cascade"))
        else:
            for index, server in enumerate(servers):
                self._server(server, ("agent", "llm", "mcp_servers", index))

    def _server(self, server: McpServer, source: Place) -> None:
        place = ("mcp", server.name)
        if server.name in self.out.data.get("mcp", {}):
            self.out.wrong.append(((*source, "name"), f"there are two servers {server.name!r}"))
            return
        self.out.put((*place, "url"), server.endpoint, (*source, "endpoint"))
        self.out.sources[place] = source
        for name, value in server.headers.items():
            # What stands there is most often a secret, and settings are shown.
            kept = value if "${" in value else f"${{{self.out.secret(value, self._variable(server.name, name))}}}"
            self.out.put((*place, "headers", name), kept, (*source, "headers", name))
        if server.allowed_tools:
            self.out.put((*place, "allowed"), list(server.allowed_tools), (*source, "allowed_tools"))
        if server.timeout_ms is not None:
            self.out.put((*place, "timeout_seconds"), server.timeout_ms / 1000, (*source, "timeout_ms"))

    def _variable(self, *words: str) -> str:
        """The name of a secret that stands in the file; no operator writes it."""
        return re.sub(r"\W", "_", "_".join(("agent", self._name, *words)), flags=re.ASCII).upper()
