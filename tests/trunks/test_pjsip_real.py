"""What a real Asterisk makes of our PJSIP objects, told by file and over ARI."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import product
from random import Random
from typing import Any

import aiohttp
import pytest

from ai_engine.switchboard.settings import StudioSettings
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.pjsip import PjsipObject, conf_text, objects
from scripts.trial.asterisk import Trial

pytestmark = pytest.mark.asterisk

SETTINGS = StudioSettings(media_address="127.0.0.1")
NOWHERE = {"address": "127.0.0.1", "port": 9}

PASSWORDS = [
    "plain",
    ";",
    ";--",
    "a;b",
    r"a\;b",
    "\\",
    r"\\;;\;",
    ";;;",
    "=>",
    "= x",
    "[general]",
    "(!)",
    "#include x",
    "${EXTEN}",
    "a,b|c&d",
    '"a b"',
    "'",
    "<>%20@:/?",
    "pässwörd€🔒",
    "x" * 3000,
    ";" * 1000,
    *("".join(Random(seed).choices(";\\-=>[]#\"' ab", k=30)).strip() for seed in range(20)),
]

USERS = ("4711", "name@realm", "a=b>c[d]!*'()%&")

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
async def ask(asterisk: Trial) -> AsyncIterator[Ask]:
    headers = {"Authorization": aiohttp.encode_basic_auth(asterisk.username, asterisk.password)}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def ask(method: str, path: str, body: object = None) -> Any:
            async with session.request(method, f"{asterisk.ari_url}/{path}", json=body) as response:
                text = await response.text()
                if response.status == 404 and method != "PUT":
                    return None
                assert response.status < 300, (path, body, text)
                return json.loads(text) if text else None

        yield ask


def path_of(made: PjsipObject) -> str:
    return f"asterisk/config/dynamic/res_pjsip/{made.kind}/{made.id}"


async def attributes(ask: Ask, made: PjsipObject) -> dict[str, str]:
    return {each["attribute"]: each["value"] for each in await ask("GET", path_of(made))}


TOLD = {
    *("username", "password", "contact", "transport", "context", "aors", "outbound_auth", "from_user", "from_domain"),
    *("contact_user", "server_uri", "client_uri", "endpoint", "media_encryption", "media_address"),
}
"""What must come out as it went in; of the others Asterisk has a spelling of its own."""


async def compare(ask: Ask, made: PjsipObject) -> None:
    found = await attributes(ask, made)
    wrong = {name: found.get(name) for name, value in made.fields if name in TOLD and found.get(name) != value}
    assert not wrong, (made, dict(made.fields))


async def until_there(ask: Ask, made: Sequence[PjsipObject], there: bool) -> None:
    """A reload is answered before it is done. Its endpoints are asked for as objects: the list of all endpoints goes on
    to have those whose objects are gone with a file."""
    async with asyncio.timeout(10):
        for each in made:
            while (await ask("GET", path_of(each)) is not None) != there:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


def trunks() -> list[SipNumber]:
    with_passwords: list[dict[str, Any]] = [
        {"username": "u", "password": password, "registers": index % 2 == 0} for index, password in enumerate(PASSWORDS)
    ]
    ways: list[dict[str, Any]] = [
        {"transport": way, "srtp": way == "tls", "registers": registers, "username": name, "password": "p"}
        for way, registers, name in product(
            ("udp", "tcp", "tls"), (False, True), ("4711", "name@realm", "a=b>c[d]!*'()%&")
        )
    ]
    known_by_address: list[dict[str, Any]] = [
        {"allowed_ips": ["10.0.0.0/8", "192.0.2.1"], "codecs": ["g722", "alaw"]},
        {"allowed_ips": ["2001:db8::/32"], "address": "::1"},
    ]
    return [
        SipNumber.model_validate({"number": f"+{4_930_000_000 + index}", **NOWHERE, **fields})
        for index, fields in enumerate((*with_passwords, *ways, *known_by_address))
    ]


def all_objects() -> Sequence[PjsipObject]:
    return [made for trunk in trunks() for made in objects(trunk, SETTINGS)]


async def test_asterisk_reads_our_file_as_it_was_meant(asterisk: Trial, ask: Ask) -> None:
    made = all_objects()
    file = asterisk.trunks / "test-pjsip-real.conf"
    try:
        file.write_text(conf_text(made), encoding="utf-8")
        await ask("PUT", "asterisk/modules/res_pjsip.so")
        await until_there(ask, made, True)
        for each in made:
            await compare(ask, each)
    finally:
        file.unlink()
        await ask("PUT", "asterisk/modules/res_pjsip.so")
        await until_there(ask, made, False)


async def test_asterisk_takes_the_same_over_ari(ask: Ask) -> None:
    made = all_objects()
    try:
        for each in made:
            fields = [{"attribute": name, "value": value} for name, value in each.fields]
            await ask("PUT", path_of(each), {"fields": fields})
        for each in made:
            await compare(ask, each)
    finally:
        for each in reversed(made):
            await ask("DELETE", path_of(each))
