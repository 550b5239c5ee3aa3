"""Where a language model is reached: two flags, and a key that is in the environment alone."""

import pytest

from local_ai_server import backends
from local_ai_server.config import read_settings
from local_ai_server.errors import SettingsError
from local_ai_server.llm.chat import Chat
from local_ai_server.llm.endpoint import Endpoint

URL = "http://127.0.0.1:11434/v1"
FLAGS = ["--llm", "openai", "--llm-url", f"{URL}/", "--llm-model", "small"]


def test_flags_and_key() -> None:
    settings = read_settings(FLAGS, {"LOCAL_AI_LLM_KEY": " sk-secret\n", "LOCAL_AI_LLM_MODEL": "large"})
    assert settings.endpoint == Endpoint(URL, "small", "sk-secret")
    assert "sk-secret" not in repr(settings)


def test_the_environment_will_do() -> None:
    environment = {"LOCAL_AI_LLM": "openai", "LOCAL_AI_LLM_URL": URL, "LOCAL_AI_LLM_MODEL": "small"}
    assert read_settings([], environment).endpoint == Endpoint(URL, "small")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (FLAGS[:2], "--llm openai needs --llm-url"),
        (FLAGS[:4], "--llm openai needs .* and --llm-model"),
        (["--llm-url", "127.0.0.1:11434"], "--llm-url must be a URL"),
        (["--llm-url", "http://"], "--llm-url must be a URL"),
        (["--llm-url", "http://me:pass@host/v1"], "without a password"),
        (["--llm", "openai:small"], "--llm: openai is told its model by --llm-model"),
    ],
)
def test_refusals(arguments: list[str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as refusal:
        read_settings(arguments, {})
    assert "pass@" not in str(refusal.value)


def test_the_endpoint_reaches_the_backend() -> None:
    settings = read_settings(FLAGS, {})
    known = backends.language_models(settings.endpoint)
    model, card = backends.load("llm", known, settings.llm, settings.models, settings.device)
    assert isinstance(model, Chat)
    assert (card.name, card.device, card.folder) == ("openai", "remote", None)
