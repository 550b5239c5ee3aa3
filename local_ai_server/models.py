"""Finding what an optional backend needs on this machine: its Python package and its model's files.

A model is a folder, ``<models>/<kind>/<name>/``: ``models/stt/base.en/model.bin``. Nothing is ever fetched from here;
whatever is missing is a SettingsError with the command that brings it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from local_ai_server.errors import SettingsError

MODELS = Path("models")
"""Where models lie unless the operator says otherwise."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""A folder's name and no path: a client may name a voice."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be there before a backend can be loaded."""

    package: str
    """The name it is imported by."""
    extra: str
    """Of ours, which installs it: ``pip install 'offhook[extra]'``."""
    files: tuple[str, ...]
    """Globs below the model's folder, each with a match; ``a|b`` wants a match of either."""

    companions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Where a file matches the glob, matches of these are needed as well."""

    def missing(self, folder: Path) -> str | None:
        """The first of the globs that ``folder`` has no match for."""
        wanted = (
            *self.files,
            *(each for sign, those in self.companions.items() if _matches(folder, sign) for each in those),
        )
        return next((each for each in wanted if not _matches(folder, each)), None)


NEEDS: Mapping[tuple[str, str], Needs] = {
    # what libvosk looks for (seen with strace); older models are flat folders
    ("stt", "vosk"): Needs(
        "vosk",
        "vosk",
        ("am/final.mdl|final.mdl",),
        {
            "am/final.mdl": ("conf/model.conf", "conf/mfcc.conf|conf/fbank.conf", "graph/HCLG.fst|graph/HCLr.fst"),
            "graph/HCLr.fst": ("graph/Gr.fst",),
            "final.mdl": ("mfcc.conf", "HCLG.fst|HCLr.fst"),
        },
    ),
    # without tokenizer.json faster-whisper would ask the network for one
    ("stt", "whisper"): Needs(
        "faster_whisper", "whisper", ("model.bin", "config.json", "tokenizer.json", "vocabulary.json|vocabulary.txt")
    ),
    ("stt", "sherpa"): Needs(
        "sherpa_onnx",
        "sherpa",
        ("tokens.txt|*-tokens.txt", "*.onnx"),
        {
            "*encoder*.onnx": ("*decoder*.onnx",),
            "*decoder*.onnx": ("*encoder*.onnx",),
            "*joiner*.onnx": ("*encoder*.onnx", "*decoder*.onnx"),
            "preprocess*.onnx": ("encode*.onnx", "uncached_decode*.onnx", "cached_decode*.onnx"),
        },
    ),
    ("llm", "llama"): Needs("llama_cpp", "llama", ("*.gguf",)),
    ("tts", "piper"): Needs("piper", "piper", ("*.onnx", "*.onnx.json")),
    ("tts", "kokoro"): Needs("kokoro_onnx", "kokoro", ("*.onnx", "voices*.bin")),
}
"""By kind (``stt``, ``llm``, ``tts``) and backend; a backend that is not here needs nothing."""


def check(models: Path, kind: str, backend: str, name: str | None) -> None:
    """Nothing, where ``backend`` could be loaded now; loads nothing itself. Raises SettingsError."""
    needs = NEEDS.get((kind, backend))
    if needs is None:
        if name is not None:
            raise SettingsError(f"{backend} has its model built in and takes no name, so {backend}:{name} is unknown")
        return
    if find_spec(needs.package) is None:
        raise SettingsError(
            f"{backend} needs the Python package {needs.package}; `pip install 'offhook[{needs.extra}]'` installs it"
        )
    model_folder(models, kind, backend, name)


def model_folder(models: Path, kind: str, backend: str, name: str | None) -> Path:
    """The complete model ``name``, as an absolute path; without a name, the only one there is of this backend.

    Raises SettingsError with one sentence that names the file which is missing and the command that fetches it.
    """
    needs = NEEDS[kind, backend]
    shelf = models.absolute() / kind
    if name is None:
        return _only_one(shelf, backend, needs)
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{backend}:{name} is no model: a name is letters, digits, dots, dashes and underscores")
    folder = shelf / name
    missing = needs.missing(folder)
    if missing:
        raise missing_file(folder, kind, backend, missing)
    return folder


def model_file(models: Path, kind: str, backend: str, name: str | None, pattern: str) -> Path:
    """The file of a model that ``pattern`` (a glob, or ``a|b``: rather a than b) matches; the first by name where more
    do. Raises SettingsError as ``model_folder`` does."""
    folder = model_folder(models, kind, backend, name)
    found = _matches(folder, pattern)
    if not found:
        raise missing_file(folder, kind, backend, pattern)
    return found[0]


def missing_file(folder: Path, kind: str, backend: str, pattern: str) -> SettingsError:
    """The sentence for a file that a model's ``folder`` lacks."""
    first, *others = pattern.split("|")
    or_else = f" (or {', '.join(others)})" if others else ""
    return SettingsError(
        f"{backend}:{folder.name} lacks the file {folder / first}{or_else};"
        f" `scripts/fetch_models {kind} {backend}:{folder.name}` fetches it"
    )


def unusable(folder: Path, kind: str, backend: str, error: Exception) -> SettingsError:
    """The sentence for a model that is complete by its files' names and that its library refuses all the same."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return SettingsError(
        f"{backend} cannot load the model in {folder} ({reason.rstrip('.')}); where its files are damaged,"
        f" remove the folder and `scripts/fetch_models {kind} {backend}:{folder.name}` fetches it anew"
    )


def _only_one(shelf: Path, backend: str, needs: Needs) -> Path:
    folders = sorted(each for each in shelf.iterdir() if each.is_dir()) if shelf.is_dir() else []
    complete = [each for each in folders if needs.missing(each) is None]
    if not complete:
        wanted = ", ".join(each.replace("|", " or ") for each in needs.files)
        raise SettingsError(
            f"there is no {backend} model, {shelf / 'NAME'} with {wanted};"
            f" `scripts/fetch_models {shelf.name} {backend}:NAME` fetches one"
        )
    if len(complete) > 1:
        names = [f"{backend}:{each.name}" for each in complete]
        raise SettingsError(f"there are several {backend} models in {shelf}; say which: {', '.join(names)}")
    return complete[0]


def _matches(folder: Path, pattern: str) -> list[Path]:
    return [path for each in pattern.split("|") for path in sorted(folder.glob(each)) if path.is_file()]
