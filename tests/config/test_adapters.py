"""The file's keys arrive where they act."""

from pathlib import Path

from ai_engine.ari.transport import AriSettings
from ai_engine.audio.format import SLIN8
from ai_engine.audio.level import LevelSettings
from ai_engine.audio.playout import JitterSettings
from ai_engine.audio.vad import VadSettings
from ai_engine.config import EngineConfig, adapters, load
from ai_engine.providers.local import LocalSettings
from ai_engine.remote.http import SharedHttp
from ai_engine.session.ports import Fitting
from ai_engine.session.settings import SessionSettings
from ai_engine.transports.audiosocket import AudioSocketSettings
from ai_engine.transports.chan_websocket import ChanWebSocketSettings
from ai_engine.transports.rtp import RtpSettings
from ai_engine.transports.sound_files import SoundFilesSettings

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
   max_connections: 7, handshake_seconds: 3, dialplan_first: false}
websocket: {ahead_ms: 120, connect_seconds: 2}
legacy: {host: 10.0.0.5, advertise: pbx-side, port_min: 5000, port_max: 5100, allowed_peers: [10.0.0.9]}
media: {directory: /here, asterisk_directory: /there}
streaming:
  sample_rate_hz: 16000
  jitter_buffer_ms: 80
  jitter_buffer_max_ms: 300
  low_water_ms: 50
  level_dbfs: -24
  keepalive_ms: 4000
  timeouts: {connect_ms: 1100, provider_start_ms: 1200, reply_ms: 1300, last_words_ms: 1400,
             doubt_ms: 1600}
barge_in: {enabled: false, min_ms: 140, margin_db: 14, confirm_ms: 700, word_ms: 250, settle_ms: 180,
           echo_return_loss_db: 15}
vad:
  {detector: silero, aggressiveness: 2, threshold: 0.7, margin_db: 6, start_ms: 80, end_silence_ms: 600,
   end_silence_min_ms: 350, end_silence_max_ms: 900, turn_model: m.onnx, max_turn_ms: 9000, preroll_ms: 300}
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
        dialplan_first=False,
    )


def test_websocket_lies_on_the_http_server_of_ari(tmp_path: Path) -> None:
    assert adapters.websocket_settings(config(tmp_path)) == ChanWebSocketSettings(
        url="ws://10.0.0.9:18088", ahead_ms=120, connect_seconds=2.0
    )
    url = config(tmp_path, FILE.replace("host: 10.0.0.9", "ari_url: https://pbx/x/ari/"))
    assert adapters.websocket_settings(url).url == "wss://pbx/x"


def test_rtp(tmp_path: Path) -> None:
    assert adapters.rtp_settings(config(tmp_path)) == RtpSettings(
        host="10.0.0.5", advertise="pbx-side", port_min=5000, port_max=5100, allowed_peers=("10.0.0.9",)
    )


def test_sound_files(tmp_path: Path) -> None:
    assert adapters.sound_files_settings(config(tmp_path)) == SoundFilesSettings(Path("/here"), Path("/there"))


def test_providers(tmp_path: Path) -> None:
    assert config(tmp_path).provider_settings("local") == LocalSettings(url="ws://ai:1/v1", connect_seconds=2.0)
    assert adapters.fitting(config(tmp_path), SLIN8, SharedHttp()) == Fitting(
        SLIN8, {}, preroll_ms=300, heartbeat_seconds=4.0, local_url="ws://ai:1/v1"
    )


def test_session(tmp_path: Path) -> None:
    assert adapters.session_settings(config(tmp_path)) == SessionSettings(
        media_seconds=1.1,
        provider_start_seconds=1.2,
        reply_seconds=1.3,
        last_words_seconds=1.4,
        preroll_ms=300,
        no_input_seconds=8.0,
        no_input_limit=2,
        dead_man_seconds=33,
        human_context="people",
        human_extension="front",
        human_digit="9",
        jitter=JitterSettings(least_ms=80, most_ms=300, low_water_ms=50),
        level=LevelSettings(target_dbfs=-24.0),
        doubt_seconds=1.6,
        barge_in=False,
        vad=VadSettings(
            detector="silero",
            aggressiveness=2,
            threshold=0.7,
            start_ms=80,
            barge_in_ms=140,
            confirm_ms=700,
            word_ms=250,
            settle_ms=180,
            end_silence_ms=600,
            end_silence_min_ms=350,
            end_silence_max_ms=900,
            ask_model=True,
            max_turn_ms=9000,
            energy_margin_db=6.0,
            barge_in_margin_db=14.0,
            echo_return_loss_db=15.0,
        ),
    )


def test_nothing_set_means_the_adapters_own_defaults(tmp_path: Path) -> None:
    bare = config(tmp_path, FILE.split("asterisk:")[0])
    assert adapters.session_settings(bare) == SessionSettings()
    assert adapters.audiosocket_settings(bare) == AudioSocketSettings(dialplan_first=True)
    assert adapters.websocket_settings(bare) == ChanWebSocketSettings()
    assert adapters.rtp_settings(bare) == RtpSettings()
    assert adapters.fitting(bare, SLIN8, SharedHttp()) == Fitting(SLIN8)
    assert bare.provider_settings("local") == LocalSettings()
    assert adapters.ari_settings(bare) == AriSettings(username="u", password="p")
