"""Settings: flags over environment over defaults, and refusals by name."""

import pytest

from local_ai_server.config import Settings, default_workers, read_settings, read_wish
from local_ai_server.errors import SettingsError


def test_defaults() -> None:
    assert read_settings([], {}) == Settings(workers=default_workers())
    assert default_workers() >= 2


def test_a_flag_wins_over_the_environment() -> None:
    environment = {"LOCAL_AI_PORT": "9000", "LOCAL_AI_WORKERS": "3", "LOCAL_AI_HOST": ""}
    settings = read_settings(["--port", "0"], environment)
    assert (settings.port, settings.workers, settings.host) == (0, 3, "127.0.0.1")


def test_the_admin_token_is_in_the_environment_alone() -> None:
    settings = read_settings(["--busy-seconds", "0.5"], {"LOCAL_AI_ADMIN_TOKEN": " s3cret\n"})
    assert (settings.admin_token, settings.busy_seconds) == ("s3cret", 0.5)
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("arguments", "environment", "complaint"),
    [
        (["--port", "70000"], {}, "--port must be a whole number from 0 to 65535, not '70000'"),
        ([], {"LOCAL_AI_WORKERS": "many"}, "LOCAL_AI_WORKERS must be a whole number"),
        (["--max-sessions", "0"], {}, "--max-sessions must be"),
        (["--busy-seconds", "-1"], {}, "--busy-seconds must be seconds such as 2 or 0.5, not '-1'"),
        ([], {"LOCAL_AI_BUSY_SECONDS": "soon"}, "LOCAL_AI_BUSY_SECONDS must be seconds"),
        (["--stt", "kaldi:en"], {}, "no backend 'kaldi:en'; known are pocketsphinx, pocketsphinx-lm, vosk, whisper"),
        ([], {"LOCAL_AI_LLM": "gpt"}, "LOCAL_AI_LLM: there is no backend 'gpt'; known are intents"),
        ([], {"LOCAL_AI_TTS": "festival"}, "known are flite, espeak"),
    ],
)
def test_refusals(arguments: list[str], environment: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        read_settings(arguments, environment)
    assert complaint in str(refusal.value)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--help"], {})
    shown = capsys.readouterr().out
    assert "LOCAL_AI_STT" in shown
    assert "pocketsphinx-lm" in shown
    assert "LOCAL_AI_ADMIN_TOKEN" in shown
    assert "python -m local_ai_server swap" in shown
    with pytest.raises(SystemExit):
        read_wish(["--help"], {})
    assert "change over between two turns" in capsys.readouterr().out
