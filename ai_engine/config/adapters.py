"""Which part of the file becomes whose settings."""

from dataclasses import replace

from ai_engine.ari.transport import AriSettings
from ai_engine.audio.format import AudioFormat
from ai_engine.audio.level import LevelSettings
from ai_engine.audio.playout import JitterSettings
from ai_engine.audio.vad import VadSettings
from ai_engine.config.model import EngineConfig
from ai_engine.providers.local import LocalSettings
from ai_engine.remote.http import SharedHttp
from ai_engine.session.ports import Fitting
from ai_engine.session.settings import SessionSettings
from ai_engine.transports.addresses import host_port
from ai_engine.transports.audiosocket import AudioSocketSettings
from ai_engine.transports.chan_websocket import ChanWebSocketSettings
from ai_engine.transports.rtp import RtpSettings
from ai_engine.transports.sound_files import SoundFilesSettings


def ari_settings(config: EngineConfig) -> AriSettings:
    """For ``ai_engine.ari``."""
    asterisk = config.asterisk
    return AriSettings(
        url=asterisk.ari_url or f"http://{host_port(asterisk.host, asterisk.ari_port)}",
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
        dialplan_first=audiosocket.dialplan_first,
    )


def websocket_settings(config: EngineConfig) -> ChanWebSocketSettings:
    """For ``ai_engine.transports.chan_websocket``: the media WebSocket lies on the HTTP server of ARI."""
    base = ari_settings(config).url.rstrip("/").removesuffix("/ari")
    return ChanWebSocketSettings(
        url=f"ws{base.removeprefix('http')}",
        ahead_ms=config.websocket.ahead_ms,
        connect_seconds=config.websocket.connect_seconds,
    )


def rtp_settings(config: EngineConfig) -> RtpSettings:
    """For ``ai_engine.transports.rtp``."""
    legacy = config.legacy
    return RtpSettings(
        host=legacy.host,
        advertise=legacy.advertise or "",
        port_min=legacy.port_min,
        port_max=legacy.port_max,
        allowed_peers=legacy.allowed_peers,
    )


def sound_files_settings(config: EngineConfig) -> SoundFilesSettings:
    """For ``ai_engine.transports.sound_files``."""
    return SoundFilesSettings(config.media.directory, config.media.asterisk_directory)


def fitting(config: EngineConfig, line: AudioFormat, http: SharedHttp) -> Fitting:
    """For every provider; whoever made ``http`` closes it."""
    return Fitting(
        line=line,
        keys={name: key.get_secret_value() for name, key in config.secrets.keys.items()},
        preroll_ms=config.vad.preroll_ms,
        heartbeat_seconds=config.streaming.keepalive_ms / 1000,
        local_url=local_url(config),
        http=http,
    )


def local_url(config: EngineConfig) -> str:
    """Where the local server is."""
    local = config.provider_settings("local")
    assert isinstance(local, LocalSettings)
    return local.url


def vad_settings(config: EngineConfig) -> VadSettings:
    """For ``ai_engine.audio.vad``."""
    vad, barge_in = config.vad, config.barge_in
    return VadSettings(
        detector=vad.detector,
        aggressiveness=vad.aggressiveness,
        threshold=vad.threshold,
        start_ms=vad.start_ms,
        barge_in_ms=barge_in.min_ms,
        confirm_ms=barge_in.confirm_ms,
        word_ms=barge_in.word_ms,
        settle_ms=barge_in.settle_ms,
        end_silence_ms=vad.end_silence_ms,
        end_silence_min_ms=vad.end_silence_min_ms,
        end_silence_max_ms=vad.end_silence_max_ms,
        ask_model=vad.turn_model is not None,
        max_turn_ms=vad.max_turn_ms,
        energy_margin_db=vad.margin_db,
        barge_in_margin_db=barge_in.margin_db,
        echo_return_loss_db=barge_in.echo_return_loss_db,
    )


def session_settings_of(config: EngineConfig, agent: str) -> SessionSettings:
    """``session_settings`` with what ``agent`` has of its own. Raises KeyError."""
    section, settings = config.agents[agent], session_settings(config)
    if section.idle_seconds is not None:
        # Quiet before each nudge, and once more before the goodbye.
        settings = replace(settings, no_input_seconds=section.idle_seconds / (settings.no_input_limit + 1))
    if (silence_ms := section.end_silence_ms) is not None:
        vad = settings.vad
        vad = replace(
            vad,
            end_silence_ms=silence_ms,
            end_silence_min_ms=min(vad.end_silence_min_ms, silence_ms),
            end_silence_max_ms=max(vad.end_silence_max_ms, silence_ms),
        )
        settings = replace(settings, vad=vad)
    return settings


def session_settings(config: EngineConfig) -> SessionSettings:
    """For ``ai_engine.session``."""
    streaming = config.streaming
    timeouts = streaming.timeouts
    human = config.asterisk.human
    return SessionSettings(
        media_seconds=timeouts.connect_ms / 1000,
        provider_start_seconds=timeouts.provider_start_ms / 1000,
        reply_seconds=timeouts.reply_ms / 1000,
        patience_seconds=timeouts.patience_ms / 1000,
        tool_patience_seconds=timeouts.tool_patience_ms / 1000,
        last_words_seconds=timeouts.last_words_ms / 1000,
        no_input_seconds=config.no_input.seconds,
        no_input_limit=config.no_input.limit,
        dead_man_seconds=config.asterisk.dead_man_seconds,
        human_context=human.context,
        human_extension=human.extension,
        human_digit=human.digit,
        jitter=JitterSettings(
            least_ms=streaming.jitter_buffer_ms,
            most_ms=streaming.jitter_buffer_max_ms,
            low_water_ms=streaming.low_water_ms,
        ),
        level=None if streaming.level_dbfs is None else LevelSettings(streaming.level_dbfs),
        doubt_seconds=timeouts.doubt_ms / 1000,
        barge_in=config.barge_in.enabled,
        preroll_ms=config.vad.preroll_ms,
        vad=vad_settings(config),
    )
