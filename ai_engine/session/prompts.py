"""The recorded sentences the engine can say with no provider at all."""

import warnings
from pathlib import Path

from ai_engine.audio.format import SAMPLE_BYTES, AudioFormat
from ai_engine.audio.resample import Resampler
from ai_engine.call.actions import Prompt
from ai_engine.errors import ConfigError

with warnings.catch_warnings():
    # pydub warns that ffmpeg is missing; plain WAV needs none.
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.exceptions import CouldntDecodeError

DIRECTORY = Path(__file__).parents[1] / "prompts"


def load_prompts(format: AudioFormat, directory: Path = DIRECTORY) -> dict[Prompt, bytes]:
    """Every ``Prompt`` as PCM in ``format``; reads files, so call it before the first call.

    Raises ConfigError when ``<directory>/<prompt>.wav`` is missing or is no sound.
    """
    return {prompt: _load(directory / f"{prompt}.wav", format) for prompt in Prompt}


def _load(path: Path, format: AudioFormat) -> bytes:
    try:
        with path.open("rb") as file:
            sound = AudioSegment.from_wav(file).set_channels(1).set_sample_width(SAMPLE_BYTES)
    except (OSError, CouldntDecodeError, EOFError) as error:
        raise ConfigError(f"{path}: the prompt cannot be read: {error}") from error
    # pydub's own rate conversion has no filter; ours has.
    resampler = Resampler(AudioFormat(sound.frame_rate), format)
    return resampler.process(sound.raw_data) + resampler.flush()
