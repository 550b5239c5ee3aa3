"""The file's keys arrive where they act."""

from pathlib import Path

from ai_engine.ari.transport import AriSettings
from ai_engine.audio.vad import VadSettings
from ai_engine.config import EngineConfig, adapters, load
from ai_engine.providers.local import LocalSettings
from ai_engine.session.settings import SessionSettings
from ai_engine.transports.audiosocket import AudioSocketSettings

FILE = """\
default_agent: a
downstream_mode: stream
agents: {a: {intents: {bye: {phrases: [goodbye], answer: Goodbye.}}}}
asterisk:
  host: 10.0.0.9
  ari_port: 18088
  app_name: other
  request_seconds: 1.5
  heartbeat_seconds: 2.5
  dead_man_seconds: 33
  human: {context: people, extension: front, digit: "9"}
audiosocket:
  {host: 0.0.0.0, port: 1, advertise: '10.0.0.5:8090', allowed_peers: [10.0.0.9],
   max_connections: 7, handshake_seconds: 3}
streaming:
  sample_rate_hz: 16000
  jitter_buffer_ms: 80
  keepalive_ms: 4000
  timeouts: {connect_ms: 1100, provider_start_ms: 1200, reply_ms: 1300, last_words_ms: 1400}
barge_in: {enabled: false, min_ms: 140, margin_db: 14}
vad:
  {detector: silero, aggressiveness: 2, threshold: 0.7, margin_db: 6, start_ms: 80, end_silence_ms: 600,
   max_turn_ms: 9000, preroll_ms: 300}
providers: {local: {url: "ws://ai:1/v1", connect_seconds: 2}}
no_input: {seconds: 8, limit: 2}
"""


def config(tmp_path: Path, text: str = FILE) -> EngineConfig:
    (tmp_path / "c.yaml").write_text(text)
    return load(tmp_path / "c.yaml", {"ASTERISK_ARI_USERNAME": "u", "ASTERISK_ARI_PASSWORD": "p"})


def test_ari(tmp_path: Path) -> None:
    assert adapters.ari_settings(config(tmp_path)) == AriSettings(
        url="http://10.0.0.9:18088",
        username="u",
        password="p",
        app="other",
        request_seconds=1.5,
        heartbeat_seconds=2.5,
    )


def test_ari_by_ipv6_or_url(tmp_path: Path) -> None:
    ipv6 = config(tmp_path, FILE.replace("host: 10.0.0.9", 'host: "fd00::1"'))
    assert adapters.ari_settings(ipv6).url == "http://[fd00::1]:18088"
    url = config(tmp_path, FILE.replace("host: 10.0.0.9", "ari_url: https://pbx/x"))
    assert adapters.ari_settings(url).url == "https://pbx/x"


def test_audiosocket(tmp_path: Path) -> None:
    assert adapters.audiosocket_settings(config(tmp_path)) == AudioSocketSettings(
        host="0.0.0.0",
        port=1,
        advertise="10.0.0.5:8090",
        handshake_seconds=3.0,
        max_connections=7,
        allowed_peers=("10.0.0.9",),
        rate=16000,
    )


def test_local(tmp_path: Path) -> None:
    assert adapters.local_settings(config(tmp_path)) == LocalSettings(
        url="ws://ai:1/v1", connect_seconds=2.0, preroll_ms=300, heartbeat_seconds=4.0
    )


def test_session(tmp_path: Path) -> None:
    assert adapters.session_settings(config(tmp_path)) == SessionSettings(
        media_seconds=1.1,
        provider_start_seconds=1.2,
        reply_seconds=1.3,
        last_words_seconds=1.4,
        no_input_seconds=8.0,
        no_input_limit=2,
        dead_man_seconds=33,
        human_context="people",
        human_extension="front",
        human_digit="9",
        jitter_buffer_ms=80,
        barge_in=False,
        vad=VadSettings(
            detector="silero",
            aggressiveness=2,
            threshold=0.7,
            start_ms=80,
            barge_in_ms=140,
            end_silence_ms=600,
            max_turn_ms=9000,
            energy_margin_db=6.0,
            barge_in_margin_db=14.0,
        ),
    )


def test_nothing_set_means_the_adapters_own_defaults(tmp_path: Path) -> None:
    bare = config(tmp_path, FILE.split("asterisk:")[0])
    assert adapters.session_settings(bare) == SessionSettings()
    assert adapters.audiosocket_settings(bare) == AudioSocketSettings()
    assert adapters.local_settings(bare) == LocalSettings()
    assert adapters.ari_settings(bare) == AriSettings(username="u", password="p")
