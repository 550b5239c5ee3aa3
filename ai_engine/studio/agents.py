"""What `studio agent` does with files."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ai_engine.app.capabilities import Standing, capabilities
from ai_engine.config import EngineConfig
from ai_engine.config.agent_file import AgentFile
from ai_engine.config.agent_files import AgentExists, AgentFiles, NoSuchAgent
from ai_engine.errors import ConfigError
from ai_engine.studio.engines import Engine, ask, engines
from ai_engine.studio.errors import NOT_FOUND, OK, USAGE, Stop
from ai_engine.studio.output import Cell, calm_logs, remark, say, show_facts, show_json, show_table, sure
from ai_engine.studio.place import Place, place
from ai_engine.studio.where import Where
from ai_engine.studio.whole_config import whole_config, with_agents
from ai_engine.switchboard.models import AgentInfo, Capability
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NumberStore


def create_agent(where: Where, name: str, *, source: Path | None, template: str, as_json: bool) -> int:
    """Raises Stop and ConfigError."""
    if source is not None and template:
        raise Stop(USAGE, "--config and --template: one of the two is enough")
    here = _place(where)
    if name in here.agents:
        raise Stop(USAGE, f"there is an agent {name!r} in {where.config} already; give this one another name")
    try:
        file = AgentFiles(here.settings.agents).create(name, template=template, source=source)
    except AgentExists as error:
        raise Stop(USAGE, f"{error}; `studio agent update {name}` changes it") from error
    _tell(where, here, file, "is made", as_json)
    if not as_json:
        say(f"  try it: studio agent start {name}, or studio call {name} NUMBER", "dim")
    return OK


def update_agent(where: Where, name: str, *, sets: Sequence[str], source: Path | None, as_json: bool) -> int:
    """Raises Stop and ConfigError."""
    if bool(sets) == (source is not None):
        raise Stop(USAGE, "say what to change: --set KEY=VALUE, or --config FILE")
    here = _place(where)
    pairs = dict(map(_pair, sets))
    try:
        file = AgentFiles(here.settings.agents).update(name, pairs, source)
    except NoSuchAgent as error:
        raise _lacking(where, here, name, error) from error
    _tell(where, here, file, "is changed; the next call has it", as_json)
    return OK


def delete_agent(where: Where, name: str, *, force: bool) -> int:
    """Raises Stop and ConfigError."""
    here = _place(where)
    files = AgentFiles(here.settings.agents)
    try:
        file = files.read(name)
        numbers = _leading_to(_numbers(where, here), name)
        led = f" Calls to {', '.join(numbers)} would be refused then." if numbers else ""
        sure(f"Delete {file.path}?{led}", force=force)
        files.delete(name)
    except NoSuchAgent as error:
        raise _lacking(where, here, name, error) from error
    say(f"{name} is deleted.")
    if numbers:
        remark(f"nobody answers {', '.join(numbers)} any more: `studio number import … --inbound-agent NAME --replace`")
    return OK


def list_agents(where: Where, *, as_json: bool) -> int:
    """Raises Stop and ConfigError."""
    infos = _infos(where, _place(where))
    if as_json:
        show_json([info.as_json() for info in infos])
    elif not infos:
        say("no agents; `studio agent create NAME` makes one")
    else:
        show_table(("name", "provider", "language", "numbers", "file"), map(_row, infos), spare=("language",))
        for line in (line for info in infos for line in info.error.splitlines()):
            say(line, "red")
    return OK


def show_agent(where: Where, name: str, *, as_json: bool) -> int:
    """Raises Stop and ConfigError."""
    here = _place(where)
    infos = {info.name: info for info in _infos(where, here)}
    if (info := infos.get(name)) is None:
        known = ", ".join(infos) or "none at all"
        raise Stop(NOT_FOUND, f"there is no agent {name!r}; there are {known}")
    if as_json:
        show_json(info.as_json())
        return OK
    show_facts(
        [
            ("agent", (info.name, "bold")), ("file", info.source), ("version", info.version),
            ("provider", info.provider), ("language", info.language),
            ("numbers", ", ".join(info.numbers)), ("tools", ", ".join(info.tools)),
        ]
    )  # fmt: skip
    for line in info.error.splitlines():
        show_facts([("problem", (line, "red"))])
    if info.capabilities:
        say("")
        say("can it …", "bold")
        for one in info.capabilities:
            mark: Cell = ("yes", "green") if one.present else (f"no: {one.reason}", "yellow")
            show_facts([(f"{one.name:14}", mark)])
    if info.not_applicable:
        say("")
        say("not applicable here, and left out", "bold")
        for line in info.not_applicable:
            say(f"  {line}")
    return OK


# ------------------------------------------------------------------------------------------------------------


def _place(where: Where) -> Place:
    calm_logs(logging.CRITICAL)  # what is wrong with a file is told by the verbs
    return place(where)


def _engine(where: Where, here: Place) -> Engine | None:
    return next(iter(engines(where, here)), None)


def _infos(where: Where, here: Place) -> Sequence[AgentInfo]:
    """As the engine knows them that runs here; else as one that started now would."""
    if (engine := _engine(where, here)) is not None:
        try:
            return ask(engine, lambda client: client.agents())
        except Stop as stop:
            remark(f"only files are shown: {stop}")
    return _without_engine(where, here)


def _without_engine(where: Where, here: Place) -> Sequence[AgentInfo]:
    whole = whole_config(where)
    if whole.config is None:
        remark("\n".join(whole.problems))
        configured = [AgentInfo(name=name, source=str(where.config), version="") for name in here.agents]
        return [*configured, *map(_info, AgentFiles(here.settings.agents).list())]
    live = with_agents(whole.config)
    numbers = _numbers(where, here)
    files = {file.name: _info(file) for file in AgentFiles(here.settings.agents).list()}
    told = [
        files[one.name].model_copy(update={"error": one.error}) if one.error and one.name in files else one
        for one in live.infos()
    ]
    return [_standing(where, live.now, info, numbers) for info in told]


def _standing(where: Where, config: EngineConfig, info: AgentInfo, numbers: Sequence[SipNumber]) -> AgentInfo:
    """With its numbers, and what it could do if an engine ran."""
    ours, routed = tuple(one.number for one in numbers), _leading_to(numbers, info.name)
    able: list[Capability] = []
    if info.name in config.agents:
        up, down = (capabilities(config, info.name, Standing(asterisk, ours, routed)) for asterisk in (True, False))
        why = f"no engine runs here: start it with `offhook --config {where.config}`"
        able = [
            Capability(name=one.name, present=False, reason=why) if one.present and not without.present else one
            for one, without in zip(up, down, strict=True)
        ]
    return info.model_copy(update={"numbers": routed, "capabilities": tuple(able)})


def _info(file: AgentFile) -> AgentInfo:
    section = file.section
    return AgentInfo(
        name=file.name, source=str(file.path), version=file.version, error=file.error,
        provider=(section.provider or "") if section is not None else "",
        language=section.language if section is not None else "", not_applicable=file.not_applicable,
    )  # fmt: skip


def _numbers(where: Where, here: Place) -> Sequence[SipNumber]:
    """Ours; none where the store cannot be opened, which its own verbs say."""
    with suppress(ConfigError):
        return NumberStore(here.settings.directory, where.given()).numbers()
    return ()


def _leading_to(numbers: Sequence[SipNumber], agent: str) -> tuple[str, ...]:
    return tuple(one.number for one in numbers if one.inbound_agent == agent)


def _tell(where: Where, here: Place, file: AgentFile, done: str, as_json: bool) -> None:
    if here.missing:
        remark(here.missing)
    for line in file.not_applicable:
        remark(f"{file.path}: {line} (it is left out)")
    for line in _problems(where, file.name):
        remark(f"it cannot be used yet: {line}")
    if as_json:
        show_json(_info(file).as_json())
    else:
        say(f"{file.name} {done}: {file.path}")


def _problems(where: Where, name: str) -> Sequence[str]:
    """What it has against the rest of the configuration, and the secrets it lacks."""
    whole = whole_config(where)
    if whole.config is None or whole.config.studio is None:
        return whole.problems
    return next((one.error.splitlines() for one in with_agents(whole.config).infos() if one.name == name), ())


def _lacking(where: Where, here: Place, name: str, error: Exception) -> Stop:
    if name in here.agents:
        return Stop(USAGE, f"{name} stands in {where.config}, below `agents`: change it there")
    return Stop(NOT_FOUND, f"{error}; `studio agent list` shows those there are")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise Stop(USAGE, f"--set {text}: must be KEY=VALUE")
    return key.strip(), value


def _row(info: AgentInfo) -> list[Cell]:
    return [info.name, info.provider, info.language, ", ".join(info.numbers), info.source]
