"""What the options before the verb say: which configuration, and which engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ai_engine.studio.errors import USAGE, Stop

CONFIG = Path("config/ai-agent.yaml")


@dataclass(frozen=True, slots=True)
class Where:
    environ: Mapping[str, str] = field(repr=False)
    """What is set; `.env` is not part of it yet, see ``given``."""
    config: Path = CONFIG
    env_file: Path | None = Path(".env")
    url_options: tuple[str, ...] = ()
    token_option: str = field(default="", repr=False)
    engine: str = ""
    """The id of an engine of the registry, or how it begins."""

    def urls(self) -> tuple[str, ...]:
        """Engines that are named, beside those of the registry. Raises Stop, as ``given`` does."""
        named = self.url_options or (self.given().get("CALL_AGENT_URL", ""),)
        return tuple(url.rstrip("/") for url in named if url)

    def token(self) -> str:
        """For those. Raises Stop, as ``given`` does."""
        # The engine may know several.
        return self.token_option or self.given().get("CALL_AGENT_TOKEN", "").partition(",")[0].strip()

    def given(self) -> dict[str, str]:
        """The environment, and below it what `.env` says. Raises Stop for one that is broken."""
        return {**_env_file(self.env_file), **{name: value for name, value in self.environ.items() if value}}


def _env_file(path: Path | None) -> dict[str, str]:
    if path is None or not path.exists():
        return {}
    # Most verbs of `--help` never come here.
    from ai_engine.config import dotenv  # noqa: PLC0415

    try:
        variables, broken = dotenv.parse(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(USAGE, f"{path}: cannot be read: {error}") from error
    if broken:
        raise Stop(USAGE, "\n".join(f"{path}:{line}: this is not NAME=value" for line in broken))
    return {name: variable.value for name, variable in variables.items() if variable.value}
