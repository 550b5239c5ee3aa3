"""scripts/fetch_models against a host that misbehaves, with real files, processes and archives."""

import asyncio
import io
import json
import os
import pty
import random
import signal
import socket
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.models.__main__ import ROOT, main
from scripts.models.store import Store
from tests.models_script.model_host import ModelHost, make_certificate, running
from tests.waiting import until

SCRIPT = ROOT / "scripts" / "fetch_models"
WEIGHTS = random.Random(1).randbytes(300_000)
OTHER_WEIGHTS = random.Random(2).randbytes(300_000)
ONNX, VOICE = b"onnx" * 1000, b'{"audio": {}}'


@dataclass
class Outcome:
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def host() -> Iterator[ModelHost]:
    with running() as host:
        host.serve("/w/model.bin", WEIGHTS)
        host.serve("/w/config.json", b"{}")
        host.serve("/v/voice.onnx", ONNX)
        host.serve("/v/voice.onnx.json", VOICE)
        host.serve("/g/chat.gguf", WEIGHTS)
        yield host


class Shop:
    """The script, with a catalogue and a models folder of its own."""

    def __init__(self, folder: Path, host: ModelHost, capsys: pytest.CaptureFixture[str]) -> None:
        self.models = folder / "models"
        self.catalogue = folder / "catalogue.yaml"
        self._capsys = capsys
        self.entries: dict[str, dict[str, Any]] = {}
        self.offer("stt", "whisper:base", [("w/config.json", "stt/base"), ("w/model.bin", "stt/base")], host.url)
        self.offer("tts", "piper:voice", [("v/voice.onnx", "tts"), ("v/voice.onnx.json", "tts")], host.url)
        self.offer("llm", "llama:chat", [("g/chat.gguf", "llm")], host.url)

    def offer(self, kind: str, name: str, files: list[tuple[str, str]], base: str, **rest: Any) -> None:
        self.entries[f"{kind} {name}"] = {
            "kind": kind,
            "name": name,
            "about": "for tests",
            "licence": "CC0-1.0",
            "licence_url": "https://example.invalid/licence",
            "base": f"{base}/",
            "files": [{"url": url, "to": f"{to}/{Path(url).name}"} | rest for url, to in files],
        }
        self.write()

    def offer_archive(self, url: str, form: str, base: str) -> None:
        self.offer("stt", "vosk:small", [(url, "stt")], base, to="stt/small", unpack=form)

    def know(self, title: str, file: int = 0, **facts: Any) -> None:
        """What the catalogue says of a file."""
        self.entries[title]["files"][file] |= facts
        self.write()

    def write(self) -> None:
        self.catalogue.write_text(yaml.safe_dump({"models": list(self.entries.values())}))

    def command(self, *words: str) -> list[str]:
        quick = (
            ["--tries", "1"] if words and words[0] in ("stt", "llm", "tts", "turn") and "--tries" not in words else []
        )
        return [*words, *quick, "--models", str(self.models), "--catalogue", str(self.catalogue)]

    def run(self, *words: str) -> Outcome:
        status = main(self.command(*words))
        return Outcome(status, *self._capsys.readouterr())

    def recorded(self) -> str:
        return (self.models / "CHECKSUMS").read_text()


@pytest.fixture
def shop(tmp_path: Path, host: ModelHost, capsys: pytest.CaptureFixture[str]) -> Shop:
    return Shop(tmp_path, host, capsys)


def states(shop: Shop) -> dict[str, str]:
    return {f"{model['kind']} {model['name']}": model["state"] for model in json.loads(shop.run("list", "--json").out)}


def the_zip(names: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in names.items():
            file.writestr(name, content)
    return made.getvalue()


# --- what comes whole -------------------------------------------------------------------------------------------------


def test_a_model_of_several_files_is_put_in_place_whole(shop: Shop) -> None:
    done = shop.run("stt", "whisper:base", "--yes")

    assert done.status == 0, done.err
    assert (shop.models / "stt/base/model.bin").read_bytes() == WEIGHTS
    assert (shop.models / "stt/base/config.json").read_bytes() == b"{}"
    assert not list((shop.models / ".incoming").iterdir())
    assert "CC0-1.0" in done.out
    assert "--stt whisper:base" in done.out


def test_the_first_checksum_is_shown_recorded_and_holds(shop: Shop, host: ModelHost) -> None:
    done = shop.run("llm", "llama:chat", "--yes")
    digest = sha256(WEIGHTS).hexdigest()
    assert digest in done.out
    assert "trusted this first time" in done.out
    assert f"{digest}  llm/chat.gguf\n" in shop.recorded()

    host.serve("/g/chat.gguf", OTHER_WEIGHTS)
    assert shop.run("remove", "llm", "llama:chat", "--yes").status == 0
    changed = shop.run("llm", "llama:chat", "--yes")

    assert changed.status == 4
    assert "models/CHECKSUMS says" in changed.err
    assert not (shop.models / "llm/chat.gguf").exists()
    assert (shop.models / ".incoming/llm-llama-chat/tree/llm/chat.gguf.bad").read_bytes() == OTHER_WEIGHTS
    accepted = shop.run("llm", "llama:chat", "--yes", "--sha256", sha256(OTHER_WEIGHTS).hexdigest())
    assert accepted.status == 0, accepted.err
    assert (shop.models / "llm/chat.gguf").read_bytes() == OTHER_WEIGHTS


def test_what_the_catalogue_knows_is_not_called_trust(shop: Shop) -> None:
    shop.know("llm llama:chat", sha256=sha256(WEIGHTS).hexdigest(), bytes=len(WEIGHTS))

    done = shop.run("llm", "llama:chat", "--yes")

    assert done.status == 0, done.err
    assert "as the catalogue says" in done.out
    assert "trusted" not in done.out


def test_a_wrong_checksum_installs_nothing_and_the_next_time_starts_anew(shop: Shop, host: ModelHost) -> None:
    shop.know("llm llama:chat", sha256=sha256(WEIGHTS).hexdigest())
    host.serve("/g/chat.gguf", OTHER_WEIGHTS)

    failed = shop.run("llm", "llama:chat", "--yes")

    assert failed.status == 4
    assert sha256(OTHER_WEIGHTS).hexdigest() in failed.err
    assert states(shop)["llm llama:chat"] == "begun"
    host.serve("/g/chat.gguf", WEIGHTS)
    assert shop.run("llm", "llama:chat", "--yes").status == 0
    assert "range" not in host.asked["/g/chat.gguf"][-1]


def test_a_pin_from_the_command_line_names_its_file(shop: Shop) -> None:
    digest = sha256(WEIGHTS).hexdigest()
    assert shop.run("stt", "whisper:base", "--yes", "--sha256", digest).status == 2
    assert shop.run("stt", "whisper:base", "--yes", "--sha256", "model.bin=123").status == 2
    assert shop.run("stt", "whisper:base", "--yes", "--sha256", f"model.bin={'0' * 64}").status == 4
    done = shop.run("stt", "whisper:base", "--yes", "--sha256", f"model.bin={digest}")
    assert done.status == 0, done.err
    assert f"model.bin: sha256 {digest}, as --sha256 says" in done.out


def test_a_hosts_own_checksum_counts_the_first_time(shop: Shop, host: ModelHost) -> None:
    host.serve("/store", WEIGHTS)
    host.serve("/g/chat.gguf", b"", redirect="/store", headers={"X-Linked-Etag": f'"{"0" * 64}"'})
    assert shop.run("llm", "llama:chat", "--yes").status == 4

    announced = {"X-Linked-Etag": f'"{sha256(WEIGHTS).hexdigest()}"'}
    host.serve("/g/chat.gguf", b"", redirect="/store", headers=announced)
    done = shop.run("llm", "llama:chat", "--yes")
    assert done.status == 0, done.err
    assert "as its host says" in done.out


def test_a_model_that_is_here_is_left_alone_unless_asked(shop: Shop, host: ModelHost) -> None:
    assert shop.run("tts", "piper:voice", "--yes").status == 0
    assert "here already" in shop.run("tts", "piper:voice", "--yes").out
    assert len(host.asked["/v/voice.onnx"]) == 1

    (shop.models / "tts/voice.onnx").write_bytes(b"damaged")
    assert shop.run("tts", "piper:voice", "--yes", "--again").status == 0
    assert (shop.models / "tts/voice.onnx").read_bytes() == ONNX


# --- what breaks off --------------------------------------------------------------------------------------------------


def test_a_cut_connection_is_resumed_where_it_broke(shop: Shop, host: ModelHost) -> None:
    host.serve("/g/chat.gguf", WEIGHTS, cuts=[100_000, 150_000])

    done = shop.run("llm", "llama:chat", "--yes")

    assert done.status == 0, done.err
    assert [asked.get("range") for asked in host.asked["/g/chat.gguf"]] == [None, "bytes=100000-", "bytes=250000-"]
    assert (shop.models / "llm/chat.gguf").read_bytes() == WEIGHTS


@pytest.mark.parametrize("ranges", ["ignored", "wrong", "refused"])
def test_a_host_that_gets_ranges_wrong_is_asked_for_all_of_it(shop: Shop, host: ModelHost, ranges: str) -> None:
    host.serve("/g/chat.gguf", WEIGHTS, cuts=[100_000], ranges=ranges)

    done = shop.run("llm", "llama:chat", "--yes", "--tries", "2")

    assert done.status == 0, done.err
    assert host.asked["/g/chat.gguf"][1]["range"] == "bytes=100000-"
    assert (shop.models / "llm/chat.gguf").read_bytes() == WEIGHTS


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_sign_of_sameness_nothing_is_resumed(shop: Shop, host: ModelHost, etag: str) -> None:
    host.serve("/g/chat.gguf", WEIGHTS, cuts=[100_000], etag=etag)

    assert shop.run("llm", "llama:chat", "--yes").status == 0
    assert "range" not in host.asked["/g/chat.gguf"][1]


def test_a_file_that_changed_meanwhile_is_not_glued_together(shop: Shop, host: ModelHost) -> None:
    host.serve("/g/chat.gguf", WEIGHTS, cuts=[100_000, 0])
    assert shop.run("llm", "llama:chat", "--yes").status == 3
    host.serve("/g/chat.gguf", OTHER_WEIGHTS)

    assert shop.run("llm", "llama:chat", "--yes").status == 0
    assert host.asked["/g/chat.gguf"][-1]["range"] == "bytes=100000-"
    assert (shop.models / "llm/chat.gguf").read_bytes() == OTHER_WEIGHTS


async def test_killed_in_the_middle_it_goes_on_from_there(shop: Shop, host: ModelHost) -> None:
    host.serve("/w/model.bin", WEIGHTS, held_after=200_000)
    process = await asyncio.create_subprocess_exec(
        SCRIPT, *shop.command("stt", "whisper:base", "--yes"), stdout=subprocess.DEVNULL
    )
    part = shop.models / ".incoming/stt-whisper-base/tree/stt/base/model.bin.part"
    await until(lambda: part.exists() and part.stat().st_size == 200_000)
    process.send_signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    host.go.set()
    assert states(shop)["stt whisper:base"] == "begun"

    done = await asyncio.to_thread(shop.run, "stt", "whisper:base", "--yes")

    assert done.status == 0, done.err
    assert host.asked["/w/model.bin"][-1]["range"] == "bytes=200000-"
    assert len(host.asked["/w/config.json"]) == 1
    assert (shop.models / "stt/base/model.bin").read_bytes() == WEIGHTS


async def test_ctrl_c_says_how_to_go_on(shop: Shop, host: ModelHost) -> None:
    host.serve("/g/chat.gguf", WEIGHTS, held_after=1000)
    process = await asyncio.create_subprocess_exec(
        SCRIPT, *shop.command("llm", "llama:chat", "--yes"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    await until(lambda: list(shop.models.glob(".incoming/*/tree/llm/chat.gguf.part")))
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert b"goes on from there" in err


def test_a_host_that_falls_silent_is_given_up(shop: Shop, host: ModelHost) -> None:
    host.serve("/g/chat.gguf", WEIGHTS, held_after=1000)

    failed = shop.run("llm", "llama:chat", "--yes", "--timeout", "0.2")

    assert failed.status == 3
    assert len(host.asked["/g/chat.gguf"]) == 1
    assert "--base-url" in failed.err


# --- what the host says -----------------------------------------------------------------------------------------------


def test_a_passing_failure_is_waited_out(shop: Shop, host: ModelHost) -> None:
    host.serve("/g/chat.gguf", WEIGHTS, failures=[503])
    assert shop.run("llm", "llama:chat", "--yes", "--tries", "2").status == 0


@pytest.mark.parametrize(
    ("status", "advice"), [(404, "--catalogue"), (403, "licence"), (400, "browser"), (500, "--base")]
)
def test_a_refusal_is_told_with_the_next_step(shop: Shop, host: ModelHost, status: int, advice: str) -> None:
    host.serve("/g/chat.gguf", WEIGHTS, failures=[status] * 9)
    failed = shop.run("llm", "llama:chat", "--yes")
    assert failed.status == 3
    assert str(status) in failed.err
    assert advice in failed.err


def test_no_network_is_told_with_the_next_step(shop: Shop) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    failed = shop.run("llm", "llama:chat", "--yes", "--base-url", nobody)
    assert failed.status == 3
    assert "HTTPS_PROXY" in failed.err


def test_a_login_page_is_not_taken_for_a_model(shop: Shop, host: ModelHost) -> None:
    host.serve("/g/chat.gguf", b"<html>", headers={"Content-Type": "text/html; charset=utf-8"})
    failed = shop.run("llm", "llama:chat", "--yes")
    assert failed.status == 3
    assert "web page" in failed.err


def test_another_size_than_the_catalogues_is_not_even_fetched(shop: Shop, host: ModelHost) -> None:
    shop.know("llm llama:chat", sha256=sha256(WEIGHTS).hexdigest(), bytes=len(WEIGHTS))
    host.serve("/g/chat.gguf", WEIGHTS + b"!")
    failed = shop.run("llm", "llama:chat", "--yes")
    assert failed.status == 3
    assert "300,001" in failed.err
    part = shop.models / ".incoming/llm-llama-chat/tree/llm/chat.gguf.part"
    assert not part.exists()


def test_a_mirror_has_the_paths_of_the_hosts(shop: Shop, host: ModelHost) -> None:
    shop.offer("llm", "llama:far", [("g/far.gguf", "llm")], "https://far.invalid/a")
    host.serve("/mirror/a/g/far.gguf", WEIGHTS)
    done = shop.run("llm", "llama:far", "--yes", "--base-url", f"{host.url}/mirror/")
    assert done.status == 0, done.err
    assert f"{host.url}/mirror/a/g/far.gguf" in done.out
    assert shop.run("llm", "llama:far", "--base-url", "ftp://x").status == 2


def test_the_proxy_of_the_environment_is_used(shop: Shop, host: ModelHost, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.offer("llm", "llama:far", [("g/chat.gguf", "llm/far")], "http://far.invalid")
    monkeypatch.setenv("HTTP_PROXY", host.url)
    done = shop.run("llm", "llama:far", "--yes")
    assert done.status == 0, done.err
    assert host.asked["/g/chat.gguf"][0]["host"] == "far.invalid"


def test_encryption_is_checked_and_not_given_up_on_the_way(
    shop: Shop, host: ModelHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path / "host.pem")
    with running(certificate) as safe:
        safe.serve("/g/chat.gguf", WEIGHTS)
        shop.offer("llm", "llama:chat", [("g/chat.gguf", "llm")], safe.url)
        stranger = shop.run("llm", "llama:chat", "--yes")
        assert stranger.status == 3
        assert "CERTIFICATE_VERIFY_FAILED" in stranger.err

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        safe.serve("/g/chat.gguf", b"", redirect=f"{host.url}/g/chat.gguf")
        led_astray = shop.run("llm", "llama:chat", "--yes")
        assert led_astray.status == 3
        assert "without encryption" in led_astray.err

        safe.serve("/g/chat.gguf", WEIGHTS)
        done = shop.run("llm", "llama:chat", "--yes")
        assert done.status == 0, done.err


# --- archives ---------------------------------------------------------------------------------------------------------


def test_a_zip_is_unpacked_without_the_folder_around_it(shop: Shop, host: ModelHost) -> None:
    host.serve("/small.zip", the_zip({"small-0.15/am/final.mdl": WEIGHTS, "small-0.15/README": b"hello"}))
    shop.offer_archive("small.zip", "zip", host.url)

    done = shop.run("stt", "vosk:small", "--yes")

    assert done.status == 0, done.err
    assert (shop.models / "stt/small/am/final.mdl").read_bytes() == WEIGHTS
    assert sorted(path.name for path in (shop.models / "stt/small").iterdir()) == ["README", "am"]
    assert "stt/small/am/final.mdl\n" in shop.recorded()
    assert f"# fetched {sha256(host.files['/small.zip'].content).hexdigest()} stt/small\n" in shop.recorded()


def test_a_tar_is_unpacked(shop: Shop, host: ModelHost) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:bz2") as file:
        for name, content in {"a/tokens.txt": b"x", "b/encoder.onnx": WEIGHTS}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    host.serve("/small.tar.bz2", made.getvalue())
    shop.offer_archive("small.tar.bz2", "tar", host.url)
    assert shop.run("stt", "vosk:small", "--yes").status == 0
    assert (shop.models / "stt/small/b/encoder.onnx").read_bytes() == WEIGHTS


def a_link_in_a_zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        link = zipfile.ZipInfo("a/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    return made.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        the_zip({"a/x": b"1", "../evil": b"2"}),
        the_zip({"a/x": b"1", "/evil": b"2"}),
        the_zip({"a\\..\\..\\evil": b"2"}),
        the_zip({"a/x": b"1", "a/x/y": b"2"}),
        the_zip({"zeros": bytes(70 << 20)}),
        a_link_in_a_zip(),
        the_zip({"a/x": WEIGHTS})[:200_000],
    ],
    ids=["parent", "absolute", "backslash", "below a file", "bomb", "link", "cut short"],
)
def test_an_archive_that_is_no_good_leaves_nothing(shop: Shop, host: ModelHost, tmp_path: Path, content: bytes) -> None:
    host.serve("/small.zip", content)
    shop.offer_archive("small.zip", "zip", host.url)

    failed = shop.run("stt", "vosk:small", "--yes")

    assert failed.status == 6, failed.err
    assert not (shop.models / "stt").exists()
    assert not list(tmp_path.rglob("*evil*"))
    assert not list(shop.models.rglob("*.unpacking"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_a_link_is_refused(shop: Shop, host: ModelHost, kind: bytes) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as file:
        entry = tarfile.TarInfo("a/link")
        entry.type, entry.linkname = kind, "/etc/passwd"
        file.addfile(entry)
    host.serve("/small.tgz", made.getvalue())
    shop.offer_archive("small.tgz", "tar", host.url)
    assert shop.run("stt", "vosk:small", "--yes").status == 6


# --- the folder -------------------------------------------------------------------------------------------------------


def test_list_tells_programs_and_people_what_is_here(shop: Shop) -> None:
    assert shop.run("tts", "piper:voice", "--yes").status == 0
    shop.know("llm llama:chat", bytes=123_000_000)

    listed = {model["name"]: model for model in json.loads(shop.run("list", "--json").out)}
    assert listed["piper:voice"]["state"] == "here"
    assert listed["piper:voice"]["files"][0]["sha256"] == sha256(ONNX).hexdigest()
    assert listed["whisper:base"]["state"] == "not here"
    assert listed["whisper:base"]["bytes"] is None
    assert listed["llama:chat"]["bytes"] == 123_000_000
    table = shop.run().out
    assert "123 MB" in table
    assert "CC0-1.0" in table


def test_verify_finds_a_flipped_byte_and_a_lost_file(shop: Shop) -> None:
    assert shop.run("stt", "whisper:base", "--yes").status == 0
    assert shop.run("tts", "piper:voice", "--yes").status == 0
    good = shop.run("verify")
    assert good.status == 0
    assert "stt whisper:base: good, 2 files" in good.out

    weights = shop.models / "stt/base/model.bin"
    damaged = bytearray(WEIGHTS)
    damaged[150_000] ^= 1
    weights.write_bytes(damaged)
    (shop.models / "tts/voice.onnx.json").unlink()

    bad = shop.run("verify")
    assert bad.status == 4
    assert "stt/base/model.bin has changed" in bad.out
    assert "tts/voice.onnx.json is missing" in bad.out
    assert shop.run("verify", "llm", "llama:chat").status == 0
    assert shop.run("verify", "stt", "whisper:base").status == 4


def test_what_was_put_here_by_hand_is_not_called_good(shop: Shop) -> None:
    (shop.models / "llm").mkdir(parents=True)
    (shop.models / "llm/chat.gguf").write_bytes(WEIGHTS)
    assert "here, without a checksum" in shop.run("verify").out


def test_the_record_is_one_that_sha256sum_reads(shop: Shop) -> None:
    assert shop.run("stt", "whisper:base", "--yes").status == 0
    checked = subprocess.run(
        ["sha256sum", "-c", "CHECKSUMS"], cwd=shop.models, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "stt/base/model.bin: OK" in checked.stdout


def test_remove_takes_the_model_and_what_had_begun(shop: Shop, host: ModelHost) -> None:
    assert shop.run("stt", "whisper:base", "--yes").status == 0
    host.serve("/g/chat.gguf", WEIGHTS, cuts=[1000, 0])
    assert shop.run("llm", "llama:chat", "--yes").status == 3

    for words in (("stt", "whisper:base"), ("llm", "llama:chat")):
        assert shop.run("remove", *words).status == 7
        assert shop.run("remove", *words, "--yes").status == 0
        assert "not here" in shop.run("remove", *words).out
    assert set(states(shop).values()) == {"not here"}
    assert shop.run("verify").status == 0


def test_two_at_once_do_not_meet(shop: Shop) -> None:
    with Store(shop.models).alone():
        failed = shop.run("llm", "llama:chat", "--yes")
    assert failed.status == 5
    assert "another fetch_models" in failed.err


def test_a_folder_that_cannot_be_made_is_told(shop: Shop, tmp_path: Path) -> None:
    shop.models = tmp_path / "catalogue.yaml" / "models"
    assert shop.run("llm", "llama:chat", "--yes").status == 5


@pytest.fixture
def small_disk(shop: Shop) -> Iterator[Path]:
    """34 MiB, of which 32 are to stay free."""
    shop.models.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=34m", "tmpfs", shop.models], check=False).returncode:
        pytest.skip("mounting a small file system needs the right to")
    yield shop.models
    subprocess.run(["umount", shop.models], check=True)


def test_a_disk_too_small_is_told_before(shop: Shop, host: ModelHost, small_disk: Path) -> None:
    host.serve("/g/chat.gguf", bytes(3 << 20))
    failed = shop.run("llm", "llama:chat", "--yes")
    assert failed.status == 5
    assert "are needed" in failed.err
    assert not list(small_disk.rglob("*.part"))


def test_a_disk_that_becomes_full_keeps_what_came(shop: Shop, host: ModelHost, small_disk: Path) -> None:
    host.serve("/g/chat.gguf", random.Random(3).randbytes(35 << 20), length=False)
    failed = shop.run("llm", "llama:chat", "--yes")
    assert failed.status == 5
    assert "became full" in failed.err
    assert next(small_disk.rglob("*.part")).stat().st_size > 30 << 20


# --- people -----------------------------------------------------------------------------------------------------------


def test_nobody_is_asked_without_a_terminal(shop: Shop, host: ModelHost) -> None:
    declined = shop.run("llm", "llama:chat")
    assert declined.status == 7
    assert "--yes" in declined.err
    assert not host.asked
    assert not shop.models.exists()


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"\n", 7)])
def test_on_a_terminal_it_asks(shop: Shop, host: ModelHost, answer: bytes, status: int) -> None:
    here, there = pty.openpty()
    try:
        process = subprocess.Popen(
            [SCRIPT, *shop.command("llm", "llama:chat")], stdin=there, stdout=there, stderr=there
        )
        os.close(there)
        os.write(here, answer)
        seen = b""
        while True:
            try:
                seen += os.read(here, 65536)
            except OSError:  # the other end is closed
                break
        assert process.wait() == status, seen.decode()
    finally:
        os.close(here)
    assert b"Fetch it? [y/N]" in seen
    assert bool(host.asked) is (status == 0)


def test_what_is_not_in_the_catalogue_is_told_with_what_is(shop: Shop) -> None:
    unknown = shop.run("stt", "whisper:huge", "--yes")
    assert unknown.status == 2
    assert "whisper:base" in unknown.err


@pytest.mark.parametrize(
    "facts",
    [{"to": "stt/../x"}, {"to": "llm/x"}, {"to": "stt"}, {"url": "file:///etc/passwd"}, {"sha256": "1"}, {"size": 1}],
)
def test_a_catalogue_that_makes_no_sense_is_refused(shop: Shop, facts: dict[str, Any]) -> None:
    shop.know("stt whisper:base", **facts)
    refused = shop.run("list")
    assert refused.status == 2
    assert "is not a catalogue" in refused.err


def test_help_teaches() -> None:
    shown = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout
    for word in ("exit status", "LOCAL_AI_MODELS", "HTTPS_PROXY", "fetch_models stt whisper:base.en", "CHECKSUMS"):
        assert word in shown


def test_the_folder_of_the_environment_is_used(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCAL_AI_MODELS", str(tmp_path / "elsewhere"))
    assert main(["llm", "llama:chat", "--yes", "--catalogue", str(shop.catalogue)]) == 0
    assert (tmp_path / "elsewhere/llm/chat.gguf").read_bytes() == WEIGHTS
