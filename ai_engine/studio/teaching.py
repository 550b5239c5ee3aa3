"""What all verbs share on the command line: groups, examples, and the options before the verb.

The modules of verbs load nothing but typer; what a verb does is imported when it is called, so that help and completion
are there at once."""

from typing import Annotated, cast

import typer

from ai_engine.studio.errors import EXIT_STATUSES
from ai_engine.studio.where import Where

as_json = Annotated[bool, typer.Option("--json", help="As JSON, on standard output.")]


def group(summary: str) -> typer.Typer:
    return typer.Typer(
        help=summary,
        epilog=EXIT_STATUSES,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,  # they show the values of variables, and one of them is a password
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def examples(*commands: str, note: str = "") -> str:
    """The end of a verb's help."""
    lines = ["[dim]Examples[/dim]", *(f"  {command}".replace("[", r"\[") for command in commands)]
    return "\n".join([*lines, *(["", note] if note else []), "", EXIT_STATUSES])


def where_of(ctx: typer.Context) -> Where:
    return cast(Where, ctx.obj)
