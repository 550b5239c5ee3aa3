"""The configuration as it is now: the one the engine began with, and the agents' files, which may change."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import structlog

from ai_engine.config import EngineConfig
from ai_engine.config.agent_file import AgentFile, Stamp, read_agent, read_text, stamps
from ai_engine.config.agent_merge import with_agent
from ai_engine.errors import ConfigError
from ai_engine.switchboard.models import AgentInfo

log = structlog.get_logger(__name__)

_VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True)
class _State:
    config: EngineConfig
    files: Mapping[str, AgentFile]
    """What is in use, by name."""
    errors: Mapping[str, tuple[Path, str]]
    """Files that cannot be used, by name, and why."""


class LiveConfig:
    """A file that cannot be used leaves its agent as it was, or out. May be asked from any thread and any loop."""

    def __init__(self, config: EngineConfig) -> None:
        """``config`` is what the engine began with. Reads the files; none of them can stop an engine."""
        self.base = config
        self.folder = None if config.studio is None else config.studio.agents
        """Where the files are; None: there are none, and nothing ever changes."""
        self._stamps: Mapping[Path, Stamp] = {}
        self._read: dict[Path, AgentFile] = {}
        self._trouble = ""
        self._state = _State(config, {}, {})
        self._worker = ThreadPoolExecutor(1, "agent files")
        self.poll()

    @property
    def now(self) -> EngineConfig:
        """What a call that begins now gets; another object after each change."""
        return self._state.config

    async def refresh(self) -> EngineConfig:
        """``now``, once the files have been looked at; costs a thread's turn, and nothing where there are none."""
        if self.folder is not None:
            await asyncio.get_running_loop().run_in_executor(self._worker, self.poll)
        return self.now

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown()

    def infos(self) -> tuple[AgentInfo, ...]:
        """Every agent, and every file that is none, by name; without numbers and capabilities."""
        state = self._state
        found = {name: self._info(state, name) for name in state.config.agents}
        for name, (path, error) in state.errors.items():
            bad = found.get(name) or AgentInfo(name=name, source=str(path), version="")
            found[name] = bad.model_copy(update={"error": error})
        return tuple(found[name] for name in sorted(found))

    def _info(self, state: _State, name: str) -> AgentInfo:
        file, section = state.files.get(name), state.config.agents[name]
        text = section.model_dump_json().encode()
        return AgentInfo(
            name=name,
            source=str(state.config.source if file is None else file.path),
            version=hashlib.sha256(text).hexdigest()[:_VERSION_DIGITS] if file is None else file.version,
            provider=state.config.providers_of(name)[0],
            language=section.language,
            not_applicable=() if file is None else file.not_applicable,
            tools=state.config.tools_of(name),
        )

    # -- the files -------------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Look at the files, and read anew what has changed; blocks. One thread at a time."""
        if self.folder is None or (found := self._looked(self.folder)) == self._stamps:
            return
        changed = [path for path, stamp in found.items() if self._stamps.get(path) != stamp]
        read = {path: file for path, file in self._read.items() if path in found}
        read |= {path: _file(path, self._read.get(path)) for path in changed}
        self._stamps = found
        if read == self._read:
            return
        self._read = read
        before = self._state
        self._state = _merged(self.base, read.values(), before.files)
        _tell(before, self._state)

    def _looked(self, folder: Path) -> Mapping[Path, Stamp]:
        """As before where the folder cannot be looked at: agents do not vanish for that."""
        try:
            found = stamps(folder)
        except OSError as error:
            if self._trouble != (trouble := str(error)):
                self._trouble = trouble
                log.error("agents' files cannot be looked at, agents stay as they are", error=trouble)
            return self._stamps
        self._trouble = ""
        return found


def with_agents(config: EngineConfig) -> EngineConfig:
    """``config`` and the agents of its folder, as an engine has them at its start. Raises ConfigError, which names
    everything that is wrong with them."""
    if config.studio is None:
        return config
    try:
        files = [_file(path, None) for path in stamps(config.studio.agents)]
    except OSError as error:
        raise ConfigError(f"studio.agents: {error}") from error
    state = _merged(config, files, {})
    if state.errors:
        raise ConfigError("\n".join(error for _, error in state.errors.values()))
    return state.config


def _merged(config: EngineConfig, read: Iterable[AgentFile], used: Mapping[str, AgentFile]) -> _State:
    """Those that are ``used`` and as they were come first: what another file does is no harm to them."""
    files: dict[str, AgentFile] = {}
    errors: dict[str, tuple[Path, str]] = {}
    for file in sorted(read, key=lambda file: (used.get(file.name) is not file, file.path)):
        try:
            if file.name in files:
                raise ConfigError(f"{file.path}:1: there is {files[file.name].path}, too: take one of them away")
            config = with_agent(config, file)
            files[file.name] = file
        except ConfigError as error:
            errors.setdefault(file.name, (file.path, str(error)))
    for name in errors.keys() & used.keys() - files.keys():
        try:
            config = with_agent(config, used[name])
            files[name] = used[name]
        except ConfigError as error:
            log.error("not even the agent as it was fits any more", agent=name, error=str(error))
    return _State(config, files, errors)


def _file(path: Path, before: AgentFile | None) -> AgentFile:
    try:
        text = read_text(path)
    except ConfigError as error:
        return AgentFile(path.stem, path, "", problems=(str(error),))
    return before if before is not None and text and before.text == text else read_agent(path, text)


def _tell(before: _State, now: _State) -> None:
    for name, file in now.files.items():
        if before.files.get(name) != file:
            log.info("agent read", agent=name, file=str(file.path), version=file.version)
    for name in before.files.keys() - now.files.keys():
        log.info("agent gone", agent=name)
    for name, (path, error) in now.errors.items():
        if before.errors.get(name) != (path, error):
            log.error("agent cannot be used", agent=name, file=str(path), error=error, kept=name in now.files)
