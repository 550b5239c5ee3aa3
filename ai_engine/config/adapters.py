"""Which part of the file becomes whose settings."""

from ai_engine.ari.transport import AriSettings
from ai_engine.audio.vad import VadSettings
from ai_engine.config.model import EngineConfig
from ai_engine.providers.local import LocalSettings
from ai_engine.session.settings import SessionSettings
from ai_engine.transports.audiosocket import AudioSocketSettings


def ari_settings(config: EngineConfig) -> AriSettings:
    """For ``ai_engine.ari``."""
    asterisk = config.asterisk
    host = f"[{asterisk.host}]" if ":" in asterisk.host else asterisk.host
    return AriSettings(
        url=asterisk.ari_url or f"http://{host}:{asterisk.ari_port}",
        username=config.secrets.ari_username,
        password=config.secrets.ari_password.get_secret_value(),
        app=asterisk.app_name,
        request_seconds=asterisk.request_seconds,
        heartbeat_seconds=asterisk.heartbeat_seconds,
    )


def audiosocket_settings(config: EngineConfig) -> AudioSocketSettings:
    """For ``ai_engine.transports.audiosocket``."""
    audiosocket = config.audiosocket
    return AudioSocketSettings(
        host=audiosocket.host,
        port=audiosocket.port,
        advertise=audiosocket.advertise or "",
        handshake_seconds=audiosocket.handshake_seconds,
        max_connections=audiosocket.max_connections,
        allowed_peers=audiosocket.allowed_peers,
        rate=config.streaming.sample_rate_hz,
    )


def local_settings(config: EngineConfig) -> LocalSettings:
    """For ``ai_engine.providers.local``."""
    local = config.providers.local
    return LocalSettings(
        url=local.url,
        connect_seconds=local.connect_seconds,
        preroll_ms=config.vad.preroll_ms,
        heartbeat_seconds=config.streaming.keepalive_ms / 1000,
    )


def vad_settings(config: EngineConfig) -> VadSettings:
    """For ``ai_engine.audio.vad``."""
    vad = config.vad
    return VadSettings(
        detector=vad.detector,
        aggressiveness=vad.aggressiveness,
        threshold=vad.threshold,
        start_ms=vad.start_ms,
        barge_in_ms=config.barge_in.min_ms,
        end_silence_ms=vad.end_silence_ms,
        max_turn_ms=vad.max_turn_ms,
        energy_margin_db=vad.margin_db,
        barge_in_margin_db=config.barge_in.margin_db,
    )


def session_settings(config: EngineConfig) -> SessionSettings:
    """For ``ai_engine.session``."""
    timeouts = config.streaming.timeouts
    human = config.asterisk.human
    return SessionSettings(
        media_seconds=timeouts.connect_ms / 1000,
        provider_start_seconds=timeouts.provider_start_ms / 1000,
        reply_seconds=timeouts.reply_ms / 1000,
        last_words_seconds=timeouts.last_words_ms / 1000,
        no_input_seconds=config.no_input.seconds,
        no_input_limit=config.no_input.limit,
        dead_man_seconds=config.asterisk.dead_man_seconds,
        human_context=human.context,
        human_extension=human.extension,
        human_digit=human.digit,
        jitter_buffer_ms=config.streaming.jitter_buffer_ms,
        barge_in=config.barge_in.enabled,
        vad=vad_settings(config),
    )
