"""`studio number …`: what the verbs take, and what their help says."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ai_engine.studio import complete
from ai_engine.studio.teaching import as_json, examples, group, where_of

app = group("Bring telephone numbers with their SIP trunks, and look after them.")

Number = Annotated[
    str, typer.Argument(metavar="NUMBER", help="Like +4930123456.", show_default=False, autocompletion=complete.numbers)
]


class ExportFormat(StrEnum):
    PJSIP = "pjsip"
    ARI = "ari"


@app.command(
    "import",
    epilog=examples(
        "studio number import --number +14155550100 --sip-username ada \\",
        "    --trunk-address example.pstn.twilio.com",
        "studio number import --number +14155550100 --sip-username ada --sip-password-file pw \\",
        "    --trunk-address 'sip.telnyx.com:5061;transport=tls' --inbound-agent reception --test",
        "pass show sip | studio number import --number +4930123456 --sip-username 4930123456 \\",
        "    --sip-password - --trunk-address sip.example.de --register",
        "studio number import --number +912240001234 --allowed-ip 203.0.113.0/28 \\",
        "    --trunk-address '203.0.113.7:5070;transport=tcp'",
        note="The password is asked for where nothing gives it. With no engine the trunk is made at its next start.",
    ),
)
def import_(
    ctx: typer.Context,
    number: Annotated[str, typer.Option(metavar="E164", help="The number, like +4930123456.", show_default=False)],
    trunk_address: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help=r"The carrier's SIP server: HOST\[:PORT][;transport=udp|tcp|tls].",
            show_default=False,
        ),
    ],
    sip_username: Annotated[
        str, typer.Option(metavar="U", help="Absent: the carrier knows us by our address.", show_default=False)
    ] = "",
    sip_password: Annotated[
        str | None,
        typer.Option(
            metavar="-",
            help="`-` reads it from standard input. A password in its place is shown by the list of processes. "
            "Or set STUDIO_SIP_PASSWORD.",
            show_default=False,
        ),
    ] = None,
    sip_password_file: Annotated[
        Path | None, typer.Option(metavar="F", help="A file whose first line it is.", show_default=False)
    ] = None,
    label: Annotated[str, typer.Option(metavar="L", help="What you call it.", show_default=False)] = "",
    register: Annotated[
        bool, typer.Option("--register/--no-register", help="Register with the carrier, so that calls come in by that.")
    ] = False,
    inbound_agent: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who answers calls to it; absent: they are politely refused.",
            show_default=False,
            autocompletion=complete.agents,
        ),
    ] = None,
    allowed_ip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CIDR", help="Where its calls come from, beside the address; again for more.", show_default=False
        ),
    ] = None,
    codec: Annotated[str, typer.Option(metavar="ulaw,alaw", help="The preferred one first.")] = "ulaw,alaw",
    srtp: Annotated[
        bool | None,
        typer.Option(
            "--srtp/--no-srtp", help="Encrypt the sound; with TLS it is unless you say no.", show_default=False
        ),
    ] = None,
    calls: Annotated[int, typer.Option(metavar="N", help="Outbound at the same time.")] = 2,
    test: Annotated[
        bool, typer.Option("--test", help="Ask the carrier (OPTIONS, REGISTER) and Asterisk, and name what is wrong.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Put it in the place of the same number.")] = False,
    json: as_json = False,
) -> int:
    """Take a number and its trunk into the encrypted store and into Asterisk; say what the carrier must know."""
    from ai_engine.studio.number_import import Given, import_number  # noqa: PLC0415  see teaching

    given = Given(
        number=number,
        trunk_address=trunk_address,
        username=sip_username,
        password=sip_password,
        password_file=sip_password_file,
        label=label,
        register=register,
        inbound_agent=inbound_agent,
        allowed_ips=tuple(allowed_ip or ()),
        codecs=codec,
        srtp=srtp,
        calls=calls,
        test=test,
        replace=replace,
        json=json,
    )
    return import_number(where_of(ctx), given)


@app.command(
    "list",
    epilog=examples(
        "studio number list", "studio number list --status", "studio number list --json | jq -r '.[].number'"
    ),
)
def list_(
    ctx: typer.Context,
    json: as_json = False,
    status: Annotated[bool, typer.Option("--status", help="Ask the engine how the trunks stand in Asterisk.")] = False,
) -> int:
    """Show the numbers. Passwords are never shown."""
    from ai_engine.studio.numbers import list_numbers  # noqa: PLC0415

    return list_numbers(where_of(ctx), as_json=json, status=status)


@app.command(epilog=examples("studio number remove +14155550100", "studio number remove +14155550100 --force"))
def remove(
    ctx: typer.Context,
    number: Number,
    force: Annotated[bool, typer.Option("--force", help="Do not ask.")] = False,
) -> int:
    """Forget a number, here and in Asterisk. Calls that are in progress go on."""
    from ai_engine.studio.numbers import remove_number  # noqa: PLC0415

    return remove_number(where_of(ctx), number, force=force)


@app.command(
    epilog=examples(
        "studio number export > pjsip_studio.conf",
        "studio number export +14155550100 --show-secrets --format pjsip",
        "studio number export --format ari | jq",
        note="For an Asterisk that the engine cannot reach: include the file in its pjsip.conf.",
    )
)
def export(
    ctx: typer.Context,
    numbers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NUMBER]…", help="Absent: all.", show_default=False, autocompletion=complete.numbers),
    ] = None,
    format: Annotated[
        ExportFormat, typer.Option(help="`pjsip`: as pjsip.conf has it; `ari`: the requests that make the same.")
    ] = ExportFormat.PJSIP,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="With the passwords.")] = False,
) -> int:
    """Write the trunks as Asterisk's configuration."""
    from ai_engine.studio.numbers import export_numbers  # noqa: PLC0415

    return export_numbers(where_of(ctx), tuple(numbers or ()), format.value, show_secrets=show_secrets)


@app.command(
    "rotate-key",
    epilog=examples("studio number rotate-key", "studio number rotate-key --key-file /etc/offhook/numbers.key"),
)
def rotate_key(
    ctx: typer.Context,
    key_file: Annotated[
        Path | None,
        typer.Option(metavar="F", help="The new key: base64 of 32 bytes. Absent: one is made.", show_default=False),
    ] = None,
) -> int:
    """Lock the store with another key."""
    from ai_engine.studio.numbers import rotate_key as rotate  # noqa: PLC0415

    return rotate(where_of(ctx), key_file=key_file)
