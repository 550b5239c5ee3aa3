"""All verbs of `studio`, and the options that stand before them."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ai_engine.studio import agent_verbs, call_verbs, config_verbs, number_verbs
from ai_engine.studio.errors import EXIT_STATUSES
from ai_engine.studio.teaching import where_of
from ai_engine.studio.where import CONFIG

app = typer.Typer(
    name="studio",
    help="Numbers, agents and calls of the Offhook voice engine. Alone it opens the terminal studio.",
    epilog="\n".join(
        [
            "[dim]Begin with[/dim]",
            "  studio number import --number +14155550100 --trunk-address sip.example.com \\",
            "      --sip-username ada",
            "  studio agent create reception",
            "  studio call reception +14155550123 --wait",
            "  studio list          # what runs, numbered",
            "  studio hangup 1      # the first of it",
            "",
            EXIT_STATUSES,
        ]
    ),
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(number_verbs.app, name="number")
app.add_typer(agent_verbs.app, name="agent")
call_verbs.add_to(app)
app.add_typer(config_verbs.app, name="config")


@app.callback()
def studio(
    ctx: typer.Context,
    config: Annotated[
        Path,
        typer.Option(
            metavar="FILE", envvar="OFFHOOK_CONFIG", help="The engine's configuration: where numbers and agents are."
        ),
    ] = CONFIG,
    env_file: Annotated[
        str, typer.Option(metavar="FILE", help="Secrets and overrides of the engine; '' for none.")
    ] = ".env",
    url: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="An engine elsewhere, like http://10.0.0.5:4545; again for more (or CALL_AGENT_URL)."
        ),
    ] = None,
    token: Annotated[
        str, typer.Option(metavar="TOKEN", help="For those; better CALL_AGENT_TOKEN, which no list of processes shows.")
    ] = "",
    engine: Annotated[
        str, typer.Option(metavar="ID", help="Which of the engines of this machine; absent: the one that runs longest.")
    ] = "",
    version: Annotated[bool, typer.Option("--version", help="Show the version, and end.")] = False,
) -> int | None:
    where = where_of(ctx)
    # typer reads variables of the process itself, which are not those of a test.
    told = where.environ.get("OFFHOOK_CONFIG")
    ctx.obj = replace(
        where,
        config=Path(told) if told and config == CONFIG else config,
        env_file=Path(env_file) if env_file else None,
        url_options=tuple(url or ()),
        token_option=token,
        engine=engine,
    )
    if version:
        from ai_engine.version import engine_version  # noqa: PLC0415  see teaching

        print(engine_version())
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        raise typer.Exit(call_verbs.open_tui(ctx.obj))
    return None
