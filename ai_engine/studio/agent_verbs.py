"""`studio agent …`: what the verbs take, and what their help says."""

from pathlib import Path
from typing import Annotated

import typer

from ai_engine.studio import complete
from ai_engine.studio.teaching import as_json, examples, group, where_of

app = group("Write agents, a file each, and run them without a telephone.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the agent.", show_default=False, autocompletion=complete.agents)
]


@app.command(
    epilog=examples(
        "studio agent create reception",
        "studio agent create helper --config convo.toml",
        "studio agent create night --template openai",
        note="The file is config/agents/NAME.yaml, or NAME.toml where a convo.toml was given; edit it as you like.",
    )
)
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the new agent.", show_default=False)],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A convo.toml, or YAML, that it is made of.", show_default=False)
    ] = None,
    template: Annotated[
        str, typer.Option(metavar="T", help="Instead: one of our own; a wrong name lists them.", show_default=False)
    ] = "",
    json: as_json = False,
) -> int:
    """Make a new agent. The next call can have it."""
    from ai_engine.studio.agents import create_agent  # noqa: PLC0415  see teaching

    return create_agent(where_of(ctx), name, source=config, template=template, as_json=json)


@app.command("list", epilog=examples("studio agent list", "studio agent list --json | jq -r '.[].name'"))
def list_(ctx: typer.Context, json: as_json = False) -> int:
    """Show all agents: those with a file, and those of the configuration."""
    from ai_engine.studio.agents import list_agents  # noqa: PLC0415

    return list_agents(where_of(ctx), as_json=json)


@app.command(epilog=examples("studio agent show reception", "studio agent show reception --json | jq .capabilities"))
def show(ctx: typer.Context, name: Name, json: as_json = False) -> int:
    """Show what an agent can do and, of what it cannot, the reason; and which keys of its file mean nothing here."""
    from ai_engine.studio.agents import show_agent  # noqa: PLC0415

    return show_agent(where_of(ctx), name, as_json=json)


@app.command(
    epilog=examples(
        "studio agent update reception --set 'greeting=Good morning!'",
        "studio agent update helper --set agent.llm.params.model=gpt-4o --set agent.idle_timeout_secs=60",
        "studio agent update helper --config convo.toml",
        note="Calls that are in progress keep what they began with.",
    )
)
def update(
    ctx: typer.Context,
    name: Name,
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A key of its file, with dots; again for more.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead: all of it, from this file.", show_default=False)
    ] = None,
    json: as_json = False,
) -> int:
    """Change an agent. What would break it is not written."""
    from ai_engine.studio.agents import update_agent  # noqa: PLC0415

    return update_agent(where_of(ctx), name, sets=tuple(set or ()), source=config, as_json=json)


@app.command(epilog=examples("studio agent delete helper", "studio agent delete helper --force"))
def delete(
    ctx: typer.Context,
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Do not ask, and do not mind numbers that lead to it.")
    ] = False,
) -> int:
    """Delete an agent's file. Calls that are in progress go on."""
    from ai_engine.studio.agents import delete_agent  # noqa: PLC0415

    return delete_agent(where_of(ctx), name, force=force)


@app.command(
    epilog=examples(
        "studio agent start reception",
        "studio agent start reception --channel lobby --foreground",
        note="Whoever dials its extension, or opens its page, talks with it.",
    )
)
def start(
    ctx: typer.Context,
    name: Name,
    channel: Annotated[
        str | None,
        typer.Option(metavar="ROOM", help="How the room is called; absent: as the agent.", show_default=False),
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, show what is said in it, and stop it with Ctrl-C.")
    ] = False,
    json: as_json = False,
) -> int:
    """Run an agent without a telephone: a room that a telephone of the PBX, or a browser, joins."""
    from ai_engine.studio.rooms import start_agent  # noqa: PLC0415

    return start_agent(where_of(ctx), name, channel=channel, foreground=foreground, as_json=json)


@app.command(epilog=examples("studio agent stop reception", "studio agent stop 2"))
def stop(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|ID|#", help="Of the room or its agent, or a number of `studio list`.", show_default=False,
            autocompletion=complete.rooms,
        ),
    ],
    json: as_json = False,
) -> int:  # fmt: skip
    """End the room of an agent: everybody in it is hung up on."""
    from ai_engine.studio.rooms import stop_agent  # noqa: PLC0415

    return stop_agent(where_of(ctx), name, as_json=json)
