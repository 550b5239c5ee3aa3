"""A few words in an agent's voice, for somebody who is not the caller."""

from collections.abc import Callable
from contextlib import suppress

from ai_engine.audio.format import AudioFormat
from ai_engine.audio.resample import Resampler
from ai_engine.call.events import ReplyAudio, ReplyEnded
from ai_engine.errors import ProviderError
from ai_engine.session.ports import Agent, Briefing


async def spoken(make: Callable[[], Agent], briefing: Briefing, format: AudioFormat) -> bytes:
    """``briefing.greeting`` as PCM in ``format``, said in a session of its own.

    Raises ProviderError. How long it may take is the caller's to say, by cancelling.
    """
    agent = make()
    try:
        await agent.start(briefing)
        agent.greet()
        return await _first_reply(agent, format)
    finally:
        with suppress(ProviderError, OSError):
            await agent.close()


async def _first_reply(agent: Agent, format: AudioFormat) -> bytes:
    resampler = Resampler(agent.output_format, format)
    pcm = bytearray()
    async for event in agent.events():
        match event:
            case ReplyAudio(_, piece):
                pcm += resampler.process(piece)
            case ReplyEnded():
                return bytes(pcm + resampler.flush())
    raise ProviderError(f"{agent.provider} ended the session before it had spoken")
