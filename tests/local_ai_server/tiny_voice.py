"""Tiny neural voices, loaded by the real libraries: each phoneme is a short tone of its own."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.local_ai_server import tiny_onnx
from tests.local_ai_server.tiny_onnx import Node

SAMPLES = 256
"""Of sound per phoneme."""
KOKORO_VOICES = ("af_heart", "bm_george", "ff_siwis")


def piper(folder: Path, rate: int = 16000) -> Path:
    """A voice that knows every phoneme of one letter."""
    folder.mkdir(parents=True)
    weights = folder / f"{folder.name}.onnx"
    shape = {"input": ("int64", [1, "phonemes"]), "input_lengths": ("int64", [1]), "scales": ("float32", [3])}
    nodes = [
        Node("Gather", ["table", "input"], ["gathered"], {"axis": 0}),
        Node("Reshape", ["gathered", "flat"], ["output"]),
    ]
    constants = {"table": _tones(256, rate), "flat": np.array([1, 1, 1, -1], np.int64)}
    tiny_onnx.write(weights, nodes, shape, {"output": ("float32", [1, 1, 1, "samples"])}, constants, {})
    letters = [*"_^$ !',-.:;?", *map(chr, range(ord("a"), ord("z") + 1)), *"\u00e6\u00f0\u014b\u0251\u0254\u0259\u025b"]
    config = {
        "audio": {"sample_rate": rate},
        "espeak": {"voice": "en-us"},
        "inference": {},
        "num_symbols": 256,
        "num_speakers": 1,
        "phoneme_id_map": {letter: [number] for number, letter in enumerate(letters)},
    }
    (folder / f"{weights.name}.json").write_text(json.dumps(config))
    return folder


def kokoro(folder: Path) -> Path:
    """A model with three voices, each louder than the one before."""
    folder.mkdir(parents=True)
    shape = {"tokens": ("int64", [1, "tokens"]), "style": ("float32", [1, 256]), "speed": ("float32", [1])}
    nodes = [
        Node("Gather", ["table", "tokens"], ["gathered"], {"axis": 0}),
        Node("Reshape", ["gathered", "flat"], ["tones"]),
        Node("ReduceMean", ["style"], ["loudness"], {"axes": [0, 1], "keepdims": 0}),
        Node("Mul", ["tones", "loudness"], ["audio"]),
    ]
    constants = {"table": _tones(256, 24000), "flat": np.array([-1], np.int64)}
    tiny_onnx.write(folder / "kokoro.onnx", nodes, shape, {"audio": ("float32", ["samples"])}, constants, {})
    styles = {name: np.full((510, 1, 256), (number + 1) / 4, np.float32) for number, name in enumerate(KOKORO_VOICES)}
    with (folder / "voices.bin").open("wb") as file:
        np.savez(file, **styles)
    return folder


def _tones(count: int, rate: int) -> NDArray[np.float32]:
    """``(count, SAMPLES)``: a tone for each number, from 300 Hz up; 0 is silence."""
    time = np.arange(SAMPLES) / rate
    tones = 0.8 * np.sin(2 * np.pi * (300 + 10 * np.arange(count))[:, None] * time)
    tones[0] = 0
    return tones.astype(np.float32)
