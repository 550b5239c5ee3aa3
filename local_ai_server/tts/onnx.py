"""Where neural voices run."""

from pathlib import Path
from typing import TYPE_CHECKING

from local_ai_server.errors import SettingsError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def device_for(engine: str, wanted: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` is CUDA where onnxruntime is a build for it. Raises SettingsError."""
    import onnxruntime  # noqa: PLC0415 - slow to import, and other voices do without

    has_cuda = _PROVIDERS["cuda"] in onnxruntime.get_available_providers()
    if wanted == "cuda" and not has_cuda:
        raise SettingsError(f"{engine} finds no CUDA device here; --device auto or --device cpu runs it on the CPU")
    return "cuda" if has_cuda and wanted != "cpu" else "cpu"


def session_of(weights: Path, device: str) -> "InferenceSession":
    """The network in an ONNX file, ready to run."""
    import onnxruntime  # noqa: PLC0415 - as above

    options = onnxruntime.SessionOptions()
    # between two runs its threads would keep spinning, on the cores of the other workers
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(weights), options, providers=[_PROVIDERS[device]])
