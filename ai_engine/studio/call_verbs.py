"""The verbs of calls, which stand alone: what they take, and what their help says."""

from typing import Annotated

import typer

from ai_engine.studio import complete
from ai_engine.studio.teaching import as_json, examples, where_of
from ai_engine.studio.where import Where

Call = Annotated[
    str,
    typer.Argument(
        metavar="ID|#", help="Of the call, how it begins, or its number in `studio list`.", show_default=False,
        autocompletion=complete.calls,
    ),
]  # fmt: skip


def add_to(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "studio call reception +14155550123",
            "studio call reception +14155550123 --from +14155550100 --ring-timeout 20 --max-duration 300 --wait",
            "studio call reception 1000 --var name=Ada --var 'topic=the boiler'",
            note="With --wait it ends with 0 when the call was held; with 6 and a word when it was not: busy,"
            " no_answer, failed, canceled.",
        )
    )(call)
    app.command(
        epilog=examples("studio hangup 1", "studio hangup 5f0c1c9e", "studio hangup --all"),
    )(hangup)
    app.command("list", epilog=examples("studio list", "studio list --json | jq '.[] | select(.kind == \"call\")'"))(
        list_
    )
    app.command(epilog=examples("studio transfer 1 --to 200", "studio transfer 1", note="Without --to: to the human."))(
        transfer
    )
    app.command(epilog=examples("studio listen 1 --on 1000", "studio listen 1 --on 1000@from-internal"))(listen)
    app.command(epilog=examples("studio whisper 1 'Offer a discount of ten percent.'"))(whisper)
    app.add_typer(past)
    app.command(epilog=examples("studio logs", "studio logs -f", "studio logs -f 5f0c1c9e --json"))(logs)
    app.command()(tui)


def call(
    ctx: typer.Context,
    agent: Annotated[
        str, typer.Argument(metavar="AGENT", help="Who talks.", show_default=False, autocompletion=complete.agents)
    ],
    to: Annotated[str, typer.Argument(metavar="TO", help="The number to call, like +14155550123.", show_default=False)],
    from_number: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="NUMBER", help="One of ours; absent: the first.", show_default=False,
            autocompletion=complete.numbers,
        ),
    ] = None,
    ring_timeout: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds it may ring.", show_default=False)
    ] = None,
    max_duration: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds it may last.", show_default=False)
    ] = None,
    var: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="What greeting and prompt say as {NAME}; again for more.", show_default=False
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show what happens, until the call is over.")] = False,
    json: as_json = False,
) -> int:  # fmt: skip
    """Have an agent call somebody."""
    from ai_engine.studio.placing import place_call  # noqa: PLC0415  see teaching

    return place_call(
        where_of(ctx), agent=agent, to=to, from_number=from_number, ring_timeout=ring_timeout,
        max_duration=max_duration, variables=tuple(var or ()), wait=wait, as_json=json,
    )  # fmt: skip


def hangup(
    ctx: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID|#…", help="Of calls, how they begin, or their numbers in `studio list`.", show_default=False,
            autocompletion=complete.calls,
        ),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="All calls of all engines.")] = False,
    json: as_json = False,
) -> int:  # fmt: skip
    """End calls, whatever is being said; what was asked for is not dialled again."""
    from ai_engine.studio.calls import hang_up  # noqa: PLC0415

    return hang_up(where_of(ctx), tuple(targets or ()), everything=all, as_json=json)


def list_(ctx: typer.Context, json: as_json = False) -> int:
    """Show what runs: calls and rooms of all engines of this machine, numbered for `hangup` and `stop`."""
    from ai_engine.studio.calls import list_running  # noqa: PLC0415

    return list_running(where_of(ctx), as_json=json)


def transfer(
    ctx: typer.Context,
    target: Call,
    to: Annotated[
        str | None,
        typer.Option(metavar="EXTENSION", help="Absent: the human of the configuration.", show_default=False),
    ] = None,
    context: Annotated[str | None, typer.Option(help="Of the dialplan.", show_default=False)] = None,
) -> int:
    """Send the caller to somebody else."""
    from ai_engine.studio.calls import transfer as send  # noqa: PLC0415

    return send(where_of(ctx), target, to, context)


def listen(
    ctx: typer.Context,
    target: Call,
    on: Annotated[str, typer.Option(metavar="EXTENSION[@CONTEXT]", help="The telephone to call.", show_default=False)],
) -> int:
    """Listen in: a telephone of the PBX is called, and hears both sides."""
    from ai_engine.studio.calls import listen as hear  # noqa: PLC0415

    return hear(where_of(ctx), target, on)


def whisper(
    ctx: typer.Context, target: Call, text: Annotated[str, typer.Argument(metavar="TEXT", show_default=False)]
) -> int:
    """Tell the agent of a call something that the caller does not hear."""
    from ai_engine.studio.calls import whisper as tell  # noqa: PLC0415

    return tell(where_of(ctx), target, text)


past = typer.Typer(
    name="calls", help="Show calls that are over: what the engine recorded.", pretty_exceptions_enable=False
)


@past.callback(
    invoke_without_command=True,
    epilog=examples("studio calls", "studio calls --limit 5 --json", "studio calls show 5f0c1c9e"),
)
def calls(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The latest so many.")] = 20,
    json: as_json = False,
) -> int | None:
    """Show calls that are over, the newest first: what the engine recorded, and what was asked for and not answered."""
    if ctx.invoked_subcommand is not None:
        return None
    from ai_engine.studio.past_calls import list_calls  # noqa: PLC0415

    raise typer.Exit(list_calls(where_of(ctx), limit=limit, as_json=json))


@past.command(
    epilog=examples("studio calls show 5f0c1c9e", "studio calls show 5f0c1c9e --json | jq -r '.transcript[].text'")
)
def show(
    ctx: typer.Context,
    id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Of the call, or how it begins.", show_default=False, autocompletion=complete.recordings
        ),
    ],
    json: as_json = False,
) -> int:
    """Show one call: what was said, and how long each answer took."""
    from ai_engine.studio.past_calls import show_call  # noqa: PLC0415

    return show_call(where_of(ctx), id, as_json=json)


def logs(
    ctx: typer.Context,
    call_id: Annotated[
        str, typer.Argument(metavar="[CALL]", help="Only what concerns this call.", show_default=False,
                            autocompletion=complete.calls)
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come, until Ctrl-C.")] = False,
    json: Annotated[bool, typer.Option("--json", help="An object a line, on standard output.")] = False,
) -> int:  # fmt: skip
    """Show the latest lines of the engine's log."""
    from ai_engine.studio.log_lines import show_logs  # noqa: PLC0415

    return show_logs(where_of(ctx), call_id, follow=follow, as_json=json)


def tui(ctx: typer.Context) -> int:
    """Open the terminal studio, as `studio` alone does."""
    return open_tui(where_of(ctx))


def open_tui(where: Where) -> int:
    from ai_engine.studio.terminal import open_terminal  # noqa: PLC0415

    return open_terminal(where)
