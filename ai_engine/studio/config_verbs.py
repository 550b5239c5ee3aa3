"""`studio config …`: what the verbs take, and what their help says."""

from pathlib import Path
from typing import Annotated

import typer

from ai_engine.studio.teaching import examples, group, where_of

app = group("Show, describe and check the engine's configuration, and its agents' files.")


@app.command(epilog=examples("studio config show", "studio config show | jq .studio"))
def show(ctx: typer.Context) -> int:
    """All settings with defaults and overrides as JSON; secrets are masked."""
    from ai_engine.studio.config import show_config  # noqa: PLC0415  see teaching

    return show_config(where_of(ctx))


@app.command(epilog=examples("studio config schema > config/ai-agent.schema.json"))
def schema() -> int:
    """The JSON Schema of the configuration, for editors."""
    from ai_engine.studio.config import show_schema  # noqa: PLC0415

    return show_schema()


@app.command(
    epilog=examples(
        "studio config validate",
        "studio config validate config/examples/openai.yaml",
        note="What only the environment lacks (keys, passwords) is named, and is no failure unless --strict.",
    )
)
def validate(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Absent: that of --config.", show_default=False)
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail for secrets that are not set, and for keys that mean nothing here.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON, on standard output.")] = False,
) -> int:
    """Name everything that is wrong with the configuration and the agents' files, with file and line."""
    from ai_engine.studio.config import validate_config  # noqa: PLC0415

    return validate_config(where_of(ctx), file, strict=strict, as_json=json)
