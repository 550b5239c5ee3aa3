"""Each file of docs/snippets loads into a real Asterisk without a complaint and does what it says."""

import re
import time
from pathlib import Path

import pytest
import websockets

from scripts.trial.asterisk import TEMPLATES, Trial
from scripts.trial.rootfs import CHECKOUT
from scripts.trial.wire import RtpCapture
from tests.conftest import MakePhone, StartAsterisk

pytestmark = pytest.mark.asterisk

SNIPPETS = CHECKOUT / "docs" / "snippets"
APP = "asterisk-ai-voice-agent"


def _snippet(name: str) -> str:
    return (SNIPPETS / name).read_text(encoding="utf-8")


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _loads(text: str) -> set[str]:
    return set(re.findall(r"^load = (\S+)", text, re.MULTILINE))


def _log(trial: Trial) -> str:
    return trial.log.read_text(encoding="utf-8")


def _complaints(trial: Trial) -> list[str]:
    return re.findall(r".*(?:WARNING|ERROR).*", _log(trial))


def _start(start_asterisk: StartAsterisk, name: str, context: str, *dialplan: str) -> Trial:
    """A trial whose phone dials into ``context`` of ``dialplan``; its own dialplan steps aside to [trial…]."""
    people = _template("extensions.conf").replace("[offhook", "[trial")
    pjsip = _template("pjsip.conf").replace("context = offhook", f"context = {context}")
    trial = start_asterisk(name, overlay={"extensions.conf": "\n".join((people, *dialplan)), "pjsip.conf": pjsip})
    assert _complaints(trial) == []
    return trial


def _start_plain(start_asterisk: StartAsterisk, name: str) -> Trial:
    # In place of a person's phone: the beep of the trial's human; and two seconds in place of fifteen.
    snippet = _snippet("extensions-offhook.conf")
    reception = snippet.replace("= PJSIP/reception", "= Local/human@trial").replace("DEADMAN = 15", "DEADMAN = 2")
    assert {"OFFHOOK_HUMAN = Local/human@trial", "OFFHOOK_DEADMAN = 2"} <= set(reception.splitlines())
    return _start(start_asterisk, name, "door", reception, "[door]\nexten => 300,1,Goto(offhook,reception,1)")


async def _seconds_to_human(trial: Trial, extension: str, make_phone: MakePhone, directory: Path) -> float:
    phone = await make_phone(trial)
    async with RtpCapture(trial.rtp_ports, directory / "snippet.pcap") as wire:
        await phone.dial(extension)
        established = await phone.wait_for("CALL_ESTABLISHED")
        at = await wire.to(phone.rtp_ports).wait_tone()
    # It lasts: the dead-man timeout is off in a person's hands.
    await phone.hang_up()
    await phone.wait_for("CALL_CLOSED")
    return at - established.at


@pytest.mark.phone
async def test_plain_dialplan_without_an_engine(
    start_asterisk: StartAsterisk, make_phone: MakePhone, tmp_path: Path
) -> None:
    trial = _start_plain(start_asterisk, "plain")
    listed = trial.cli("dialplan show offhook")
    for extension in ("reception", "agent", "T", "human"):
        assert f"'{extension}' =>" in listed
    assert await _seconds_to_human(trial, "300", make_phone, tmp_path) < 1
    assert "Offhook left the call: FAILED" in _log(trial)


@pytest.mark.phone
async def test_plain_dialplan_with_an_engine_that_does_nothing(
    start_asterisk: StartAsterisk, make_phone: MakePhone, tmp_path: Path
) -> None:
    trial = _start_plain(start_asterisk, "dead")
    account = f"{trial.username}:{trial.password}"
    async with websockets.connect(f"ws://127.0.0.1:{trial.http_port}/ari/events?app={APP}&api_key={account}") as engine:
        seconds = await _seconds_to_human(trial, "300", make_phone, tmp_path)
        assert '"args":["agent=reception","did=300"]' in str(await engine.recv())
    assert 1.9 < seconds < 3
    assert "Offhook gave no sign of life" in _log(trial)


@pytest.mark.phone
async def test_dialplan_without_ari_and_without_an_engine(
    start_asterisk: StartAsterisk, make_phone: MakePhone, tmp_path: Path
) -> None:
    # With an engine: test_dialplan_real. Nobody listens on port 9 (discard).
    snippet = _snippet("extensions-audiosocket.conf")
    nobody = snippet.replace("= PJSIP/reception", "= Local/human@trial").replace("127.0.0.1:8090", "127.0.0.1:9")
    assert {"OFFHOOK_HUMAN = Local/human@trial", "OFFHOOK_AUDIOSOCKET = 127.0.0.1:9"} <= set(nobody.splitlines())
    door = "[door]\nexten => 300,1,Goto(offhook-audiosocket,reception,1)"
    trial = _start(start_asterisk, "no-ari", "door", nobody, door)
    listed = trial.cli("dialplan show offhook-audiosocket")
    for extension in ("reception", "survey", "wideband", "T", "human"):
        assert f"'{extension}' =>" in listed
    assert await _seconds_to_human(trial, "300", make_phone, tmp_path) < 1
    assert "Offhook left the call: FAILED" in _log(trial)


@pytest.mark.phone
async def test_freepbx_dialplan(start_asterisk: StartAsterisk, make_phone: MakePhone, tmp_path: Path) -> None:
    freepbx = "[from-internal]\ninclude => from-internal-custom\nexten => 600,1,Goto(trial,human,1)\n"
    trial = _start(start_asterisk, "freepbx", "from-internal", _snippet("extensions_custom.conf"), freepbx)
    listed = trial.cli("dialplan show offhook-agent")
    for extension in ("s", "T", "human"):
        assert f"'{extension}' =>" in listed
    assert "'7000' =>" in trial.cli("dialplan show from-internal-custom")
    assert "'s' =>" in trial.cli("dialplan show offhook-reception")
    assert "AMD()" in trial.cli("dialplan show offhook-amd")
    assert await _seconds_to_human(trial, "7000", make_phone, tmp_path) < 1


@pytest.mark.parametrize("name", ["extensions-offhook.conf", "extensions_custom.conf"])
def test_answering_machines_are_told_apart_as_on_the_trial(name: str) -> None:
    # That it does: test_outbound_real, over the trial's.
    assert "AMD()" in _context("offhook-amd", _template("extensions.conf"))
    assert _steps("offhook-amd", _snippet(name)) == _steps("offhook-amd", _template("extensions.conf"))


@pytest.mark.phone
async def test_calls_over_our_trunks_reach_the_human_without_an_engine_and_wrong_numbers_are_refused(
    start_asterisk: StartAsterisk, make_phone: MakePhone, tmp_path: Path
) -> None:
    # With an engine: test_trunks_real, over the trial's.
    snippet = _snippet("extensions-offhook.conf").replace("= PJSIP/reception", "= Local/human@trial")
    door = "[door]\nexten => 300,1,Goto(offhook-number,+15551230001,1)\nexten => 404,1,Goto(offhook-number,unknown,1)"
    trial = _start(start_asterisk, "numbers", "door", snippet, door)
    assert await _seconds_to_human(trial, "300", make_phone, tmp_path) < 1
    phone = await make_phone(trial)
    await phone.dial("404")
    assert "404" in (await phone.wait_for("CALL_CLOSED")).param
    assert "CALL_ESTABLISHED" not in [event.type for event in phone.events]


@pytest.mark.parametrize(
    ("name", "human", "seconds"),
    [("extensions-offhook.conf", "offhook", "${OFFHOOK_DEADMAN}"), ("extensions_custom.conf", "offhook-agent", "15")],
)
def test_calls_over_our_trunks_are_handled_as_on_the_trial(name: str, human: str, seconds: str) -> None:
    expected = _steps("offhook-number", _template("extensions.conf"))
    expected = expected.replace(" for ${OFFHOOK_DEADMAN} s", "").replace("${OFFHOOK_DEADMAN}", seconds)
    assert _steps("offhook-number", _snippet(name)) == expected.replace("Goto(offhook,", f"Goto({human},")


def _steps(name: str, dialplan: str) -> str:
    """A context without its comments, and those of the next one."""
    return "\n".join(line for line in _context(name, dialplan).splitlines() if line and not line.startswith(";"))


def test_trunks_find_transports_and_a_folder(start_asterisk: StartAsterisk) -> None:
    _, *sections = re.split(r"\n(?=\[)", _template("pjsip.conf"))
    phones = [each for each in sections if "type = transport" not in each and not each.startswith("[global]")]
    here = {
        "0.0.0.0:5060": "@BIND@:@SIP_PORT@",
        "0.0.0.0:5061": "@BIND@:@TLS_PORT@",
        "/etc/asterisk/keys/asterisk.crt": "@RUN@/tls/cert.pem",
        "/etc/asterisk/keys/asterisk.key": "@RUN@/tls/key.pem",
        "/etc/ssl/certs/ca-certificates.crt": "@RUN@/tls/cert.pem",
    }
    transports = _snippet("pjsip-studio.conf")
    for ours, theirs in here.items():
        assert ours in transports
        transports = transports.replace(ours, theirs)
    people = "\n".join(phones).partition("; Trunks that the engine writes")[0]
    trial = start_asterisk("transports", overlay={"pjsip.conf": f"{transports}\n{people}"})
    assert _complaints(trial) == []
    assert set(re.findall(r"(transport-\w+) +(udp|tcp|tls)", trial.cli("pjsip show transports"))) == {
        ("transport-udp", "udp"),
        ("transport-tcp", "tcp"),
        ("transport-tls", "tls"),
    }
    (trial.trunks / "number.conf").write_text("[studio-1]\ntype = endpoint\nallow = ulaw\n", encoding="utf-8")
    trial.cli("module reload res_pjsip.so")
    assert "studio-1" in trial.cli("pjsip show endpoints")


def test_objects_can_be_made_over_ari(start_asterisk: StartAsterisk) -> None:
    trial = start_asterisk("sorcery", overlay={"sorcery.conf": _snippet("sorcery.conf")})
    assert _complaints(trial) == []
    wanted = {
        "auth": {"username": "line", "password": "secret"},
        "aor": {"contact": "sip:127.0.0.1:9"},
        "endpoint": {"aors": "studio-1"},
        "identify": {"endpoint": "studio-1", "match": "127.0.0.9"},
        "registration": {
            "server_uri": "sip:127.0.0.1:9",
            "client_uri": "sip:line@127.0.0.1",
            "transport": "transport-udp",
        },
    }
    for kind, fields in wanted.items():
        body = {"fields": [{"attribute": name, "value": value} for name, value in fields.items()]}
        assert trial.ari("PUT", f"/asterisk/config/dynamic/res_pjsip/{kind}/studio-1", body)
    assert "1000" in trial.cli("pjsip show endpoints"), "what stands in pjsip.conf is there as before"


def _context(name: str, dialplan: str) -> str:
    found = re.search(rf"^\[{name}\]\n(.*?)(?:^\[|\Z)", dialplan, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1).strip()


def test_ari_and_http(start_asterisk: StartAsterisk) -> None:
    ari = _snippet("ari.conf").replace("CHANGE-ME", "@ARI_PASSWORD@")
    http = _snippet("http.conf").replace("8088", "@HTTP_PORT@")
    assert "@ARI_PASSWORD@" in ari
    assert "bindport = @HTTP_PORT@" in http
    trial = start_asterisk("ari", overlay={"ari.conf": ari, "http.conf": http})
    assert _complaints(trial) == []
    assert trial.ari("GET", "/channels") == []
    assert "No" in trial.cli("ari show users").split()


def test_module_list(start_asterisk: StartAsterisk) -> None:
    snippet = _snippet("modules.conf")
    elsewhere = [f"load = {name}" for name in sorted(_loads(_template("modules.conf")) - _loads(snippet))]
    trial = start_asterisk("modules", overlay={"modules.conf": "\n".join([snippet, "autoload = no", *elsewhere])})
    assert _complaints(trial) == []
    running = set(re.findall(r"^(\S+\.so) .* Running ", trial.cli("module show"), re.MULTILINE))
    assert _loads(snippet) <= running


@pytest.mark.phone
async def test_the_dialplan_in_circulation_drops_the_call(start_asterisk: StartAsterisk, make_phone: MakePhone) -> None:
    printed = re.search(r"```\n(exten => 100,.*?)```", _snippet("README.md"), re.DOTALL)
    assert printed is not None
    trial = _start(start_asterisk, "printed", "printed", f"[printed]\n{printed.group(1)}")
    phone = await make_phone(trial)
    began = time.monotonic()
    await phone.dial("100")
    await phone.wait_for("CALL_CLOSED")
    assert time.monotonic() - began < 2
    assert "Failed to parse UUID" in _log(trial)
    assert 'Stasis("PJSIP' not in _log(trial)
