"""The catalogue that comes along: complete, honest in form, and laid out as local_ai_server looks for models."""

from fnmatch import fnmatch
from urllib.parse import urlsplit

import pytest

from local_ai_server.models import NEEDS
from scripts.models import catalogue
from scripts.models.catalogue import Model

MODELS = list(catalogue.read())
HOSTS = {"alphacephei.com", "huggingface.co", "github.com"}


def the(model: Model) -> str:
    return model.title


def test_what_was_promised_is_listed() -> None:
    assert {model.title for model in MODELS} >= {
        "stt vosk:small-en-us-0.15",
        "stt whisper:base.en",
        "stt whisper:small",
        "stt sherpa:zipformer-en-2023-06-26",
        "llm llama:qwen2.5-1.5b-instruct-q4_k_m",
        "llm llama:llama-3.2-1b-instruct-q4_k_m",
        "tts piper:en_US-lessac-medium",
        "tts piper:de_DE-thorsten-medium",
        "tts kokoro:v1.0",
        "turn smart-turn-v3",
    }


@pytest.mark.parametrize("model", MODELS, ids=the)
def test_its_files_come_encrypted_from_the_projects_own_hosts(model: Model) -> None:
    for source in model.files:
        address = urlsplit(model.address(source))
        assert (address.scheme, address.hostname in HOSTS) == ("https", True), address


@pytest.mark.parametrize("model", [model for model in MODELS if model.kind != "turn"], ids=the)
def test_the_server_would_find_it_complete(model: Model) -> None:
    backend, _, name = model.name.partition(":")
    folder = f"{model.kind}/{name}"
    assert model.places == (folder,)
    files = [source.to.removeprefix(f"{folder}/") for source in model.files if not source.unpack]
    for either in NEEDS[model.kind, backend].files if files else ():
        assert any(fnmatch(file, glob) for file in files for glob in either.split("|")), either


def test_no_two_files_share_a_checksum() -> None:
    known = [source.sha256 for model in MODELS for source in model.files if source.sha256]
    assert len(set(known)) == len(known)
