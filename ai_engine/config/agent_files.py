"""A folder of agents, a file each: listed, made, changed and taken away."""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ai_engine.config import agent_templates
from ai_engine.config.agent_edit import edited
from ai_engine.config.agent_file import SUFFIXES, AgentFile, read_agent, read_text, stamps, wrong_name
from ai_engine.config.agent_merge import with_agent
from ai_engine.config.model import EngineConfig
from ai_engine.errors import ConfigError


class NoSuchAgent(ConfigError):
    """There is no file of that name."""


class AgentExists(ConfigError):
    """There is a file of that name already."""


class AgentFiles:
    """Everything blocks. Whoever changes something holds a lock of the folder meanwhile."""

    def __init__(self, directory: Path, base: EngineConfig | None = None, *, strict: bool = False) -> None:
        """With ``base`` an agent must fit into it, too, but for its secrets; ``strict``: keys that mean nothing here
        are problems."""
        self.directory = directory
        self._base = base
        self._strict = strict

    def list(self) -> Sequence[AgentFile]:
        """All of them by name, those with problems, too."""
        try:
            paths = sorted(stamps(self.directory))
        except OSError as error:
            raise ConfigError(f"{self.directory}: cannot be read: {error}") from error
        return self._fitted([self._read(path) for path in paths])

    def read(self, name: str) -> AgentFile:
        """Its ``problems`` say what is wrong with it. Raises NoSuchAgent."""
        for file in self.list():
            if file.name == name:
                return file
        raise NoSuchAgent(f"there is no agent {name!r} in {self.directory}")

    def create(self, name: str, *, template: str = "", source: Path | None = None) -> AgentFile:
        """From ``source``, a convo.toml or an agent's YAML, or else from ``template``. Raises AgentExists, ConfigError
        for a file that is none."""
        _check_name(name)
        suffix, text = _text_of(source) if source is not None else _filled(template, name)
        with self._locked():
            if (path := self._path(name)) is not None:
                raise AgentExists(f"there is an agent {name!r} already: {path}")
            path = self.directory / f"{name}{suffix}"
            file = self._checked(path, text, source)
            _write(path, text, secret=bool(file.keys))
        return file

    def update(self, name: str, sets: Mapping[str, str] | None = None, source: Path | None = None) -> AgentFile:
        """The values of dotted keys, or all of it from another file. Raises NoSuchAgent, ConfigError; the file is as it
        was then."""
        with self._locked():
            path = self._known(name)
            suffix, text = (path.suffix, read_text(path)) if source is None else _text_of(source)
            if sets:
                text = edited(suffix, text, sets)
            to = path.with_suffix(suffix)
            file = self._checked(to, text, source)
            _write(to, text, secret=bool(file.keys), like=path)
            if to != path:
                path.unlink()
        return file

    def delete(self, name: str) -> None:
        """Raises NoSuchAgent."""
        with self._locked():
            self._known(name).unlink()

    # ----------------------------------------------------------------------------------------------------------

    def _path(self, name: str) -> Path | None:
        paths = (self.directory / f"{name}{suffix}" for suffix in SUFFIXES)
        return next((path for path in paths if wrong_name(name) is None and path.is_file()), None)

    def _known(self, name: str) -> Path:
        if (path := self._path(name)) is None:
            raise NoSuchAgent(f"there is no agent {name!r} in {self.directory}")
        return path

    def _read(self, path: Path) -> AgentFile:
        try:
            return read_agent(path, read_text(path), strict=self._strict)
        except ConfigError as error:
            return AgentFile(path.stem, path, "", problems=(str(error),))

    def _checked(self, path: Path, text: str, source: Path | None) -> AgentFile:
        """``text`` as it will be at ``path``. Raises ConfigError, which names ``source`` where it came from there."""
        file = read_agent(path, text, strict=self._strict)
        others = [other for other in self.list() if other.name != file.name]
        file = self._fitted([*others, file])[-1]
        if file.problems:
            raise ConfigError(file.error if source is None else file.error.replace(f"{path}:", f"{source}:"))
        return file

    def _fitted(self, files: Sequence[AgentFile]) -> Sequence[AgentFile]:
        """With the problems that each has with the configuration and those before it."""
        config, found, seen = self._base, [], dict[str, Path]()
        for file in files:
            problems = file.problems
            if file.name in seen:
                problems = (f"{file.path}:1: there is {seen[file.name]}, too: take one of them away",)
            elif config is not None and not problems:
                try:
                    config = with_agent(config, file, secrets=False)
                except ConfigError as error:
                    problems = tuple(str(error).splitlines())
            seen.setdefault(file.name, file.path)
            found.append(replace(file, problems=problems))
        return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ConfigError(f"{self.directory}: {error.strerror}") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise ConfigError(f"{self.directory}: {error.strerror}") from error
        finally:
            os.close(folder)


def _check_name(name: str) -> None:
    if (why := wrong_name(name)) is not None:
        raise ConfigError(why)


def _filled(template: str, name: str) -> tuple[str, str]:
    try:
        return agent_templates.fill(template or agent_templates.DEFAULT, name)
    except KeyError:
        known = ", ".join(agent_templates.TEMPLATES)
        raise ConfigError(f"there is no template {template!r} (known: {known})") from None


def _text_of(source: Path) -> tuple[str, str]:
    suffix = ".yaml" if source.suffix == ".yml" else source.suffix
    if suffix not in SUFFIXES:
        raise ConfigError(f"{source}: an agent's file ends with .toml (a convo.toml) or .yaml")
    return suffix, read_text(source)


def _write(path: Path, text: str, *, secret: bool, like: Path | None = None) -> None:
    """All of it or nothing; with mode and owner of ``like``. One that holds secrets is for its owner alone."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o600 if secret else 0o644)
        if like is not None:
            was = like.stat()
            os.chmod(name, was.st_mode & 0o777 & (0o600 if secret else 0o777))
            with suppress(PermissionError):
                os.chown(name, was.st_uid, was.st_gid)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
