"""What `studio number list`, `remove`, `export` and `rotate-key` do, and what they share with `import`: files only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ai_engine.studio.errors import NOT_FOUND, OK, USAGE, Stop
from ai_engine.studio.output import Cell, calm_logs, in_camel_case, remark, say, show_json, show_table, state, sure
from ai_engine.studio.place import Place, place
from ai_engine.studio.where import Where
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NoSuchNumber, NumberStore

if TYPE_CHECKING:
    from ai_engine.switchboard.models import TrunkState

MASK = "********"


def open_store(where: Where, here: Place) -> NumberStore:
    calm_logs()
    if here.missing:
        remark(here.missing)
    return NumberStore(here.settings.directory, where.given())


def plain(number: SipNumber) -> dict[str, Any]:
    """For JSON; the password is masked."""
    password = MASK if number.password.get_secret_value() else ""
    return {**in_camel_case(number.model_dump(mode="json")), "password": password, "objectId": number.object_id}


def list_numbers(where: Where, *, as_json: bool, status: bool) -> int:
    """Raises Stop and VaultError."""
    here = place(where)
    numbers = open_store(where, here).numbers()
    states = _states(where, here, numbers) if status else {}
    if as_json:
        show_json([{**plain(one), **({"trunk": states[one.number].as_json()} if status else {})} for one in numbers])
    elif not numbers:
        say("no numbers; `studio number import --help` shows how to bring one")
    else:
        titles = ["number", "label", "trunk", "user", "inbound", "codecs", "calls", *(["Asterisk"] if status else [])]
        show_table(
            titles,
            ([*_row(one), *([state(states[one.number].state)] if status else [])] for one in numbers),
            fold=("label",),
            spare=("user", "codecs", "calls"),
        )
        for trunk in states.values():
            if trunk.detail:
                say(f"{trunk.number}: {trunk.detail}", "yellow")
    return OK


def remove_number(where: Where, number: str, *, force: bool) -> int:
    """Raises Stop and VaultError."""
    here = place(where)
    store = open_store(where, here)
    try:
        if (known := store.find(number)) is None:
            raise NoSuchNumber(f"{number} is not one of our numbers; `studio number list` shows them")
        sure(f"Remove {known.number} {known.label}, with its password?".replace(" ,", ","), force=force)
        gone = store.remove(number)
    except NoSuchNumber as error:
        raise Stop(NOT_FOUND, str(error)) from error
    say(f"{gone.number} is removed.")
    # Whoever only looks into the file should not wait for a client of HTTP to be loaded.
    from ai_engine.studio.trunk_states import forgotten  # noqa: PLC0415

    forgotten(where, here, gone)
    return OK


def export_numbers(where: Where, numbers: tuple[str, ...], format: str, *, show_secrets: bool) -> int:
    """Raises Stop."""
    from ai_engine.trunks.pjsip import conf_text, objects  # noqa: PLC0415  nobody else needs it

    here = place(where)
    known = {one.number: one for one in open_store(where, here).numbers()}
    if strange := [number for number in numbers if number not in known]:
        raise Stop(NOT_FOUND, f"{', '.join(strange)}: not one of our numbers; `studio number list` shows them")
    chosen = [known[number] for number in numbers or known]
    if not show_secrets:
        chosen = [_masked(one) for one in chosen]
        if any(one.username for one in chosen):
            remark("passwords are masked; --show-secrets writes them")
    made = [one for number in chosen for one in objects(number, here.settings)]
    if format == "pjsip":
        print(conf_text(made), end="")
    else:
        show_json(
            [
                {
                    "put": f"/asterisk/config/dynamic/res_pjsip/{one.kind}/{one.id}",
                    "body": {"fields": [{"attribute": name, "value": value} for name, value in one.fields]},
                }
                for one in made
            ]
        )
    return OK


def rotate_key(where: Where, *, key_file: Path | None) -> int:
    """Raises Stop and VaultError."""
    from ai_engine.trunks import key  # noqa: PLC0415  nobody else needs it

    here = place(where)
    store = open_store(where, here)
    before = key.find_key(here.settings.directory, where.given())
    if key_file is None and before.path is None:
        raise Stop(
            USAGE,
            f"the key comes from {before.source}: make a new one (`openssl rand -base64 32 > FILE; chmod 600 FILE`), "
            "rotate to it with --key-file FILE, and set it there",
        )
    store.rotate(key.of_file(key_file) if key_file is not None else key.generate())
    say("the store is locked with another key")
    if key_file is not None:
        say(f"set OFFHOOK_STUDIO_KEY_FILE={key_file} for studio and the engine (in .env), in place of {before.source}")
    return OK


def _states(where: Where, here: Place, numbers: Sequence[SipNumber]) -> "Mapping[str, TrunkState]":
    from ai_engine.studio.trunk_states import states  # noqa: PLC0415  as above

    return states(where, here, numbers)


def _row(number: SipNumber) -> list[Cell]:
    port = f":{number.port}" if number.port else ""
    security = "+srtp" if number.srtp else ""
    return [
        number.number,
        number.label,
        f"{number.address}{port} {number.transport}{security}{' registers' if number.registers else ''}",
        number.username or ("by address", "dim"),
        number.inbound_agent or ("refused", "dim"),
        ",".join(number.codecs),
        str(number.calls),
    ]


def _masked(number: SipNumber) -> SipNumber:
    return number.model_copy(update={"password": SecretStr(MASK)}) if number.username else number
