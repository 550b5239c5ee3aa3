"""Tiny speech models of random weights, in the folders real ones have: loaded by the real libraries, heard as nonsense.

The Whisper folder is what ctranslate2's converters write (1.8 MB). The sherpa models are ONNX files of a few nodes with
the metadata sherpa-onnx reads; there is no Vosk model, for a Kaldi graph takes Kaldi to make.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.local_ai_server import tiny_onnx
from tests.local_ai_server.tiny_onnx import Node

WIDTH, HEADS, MELS, CONTEXT, POSITIONS = 64, 1, 80, 1500, 448
_SPECIAL = (
    "<|endoftext|>", "<|startoftranscript|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>",
    "<|nospeech|>", "<|notimestamps|>",
)  # fmt: skip
_HEARD = frozenset("abcdefghijklmnopqrstuvwxyz\u0120") | {"<|endoftext|>"}
"""\u0120 is how a space is written."""


def whisper(folder: Path, *, hears_speech: bool = True) -> Path:
    """An English faster-whisper folder that hears a few letters in any sound; not ``hears_speech``: it writes them down
    all the same, as Whisper does, and says that they are no speech."""
    folder.mkdir(parents=True)
    tokens = _whisper_tokens(folder / "tokenizer.json")
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": MELS, "sampling_rate": 16000}))
    spec = _whisper_spec(len(tokens), np.random.default_rng(7))
    spec.decoder.projection.bias = np.array([_liking(each, hears_speech) for each in tokens], np.float32)
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.alignment_heads = [[0, 0]]
    spec.validate()
    spec.save(str(folder))
    return folder


def _liking(token: str, hears_speech: bool) -> float:
    """What random weights would choose among thousands of tokens is pushed towards letters and an end."""
    if token == "<|nospeech|>":
        return -20.0 if hears_speech else 20.0
    return 0.0 if token in _HEARD else -20.0


def _whisper_tokens(path: Path) -> list[str]:
    """Every byte is a word's piece; then what Whisper has: its special tokens and a timestamp per 20 ms."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers  # noqa: PLC0415 - optional

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [*_SPECIAL, *(f"<|{i * 0.02:.2f}|>" for i in range(CONTEXT + 1))]
    tokenizer = Tokenizer(models.BPE(vocab={each: i for i, each in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in special])
    tokenizer.save(str(path))
    return letters + special


def _whisper_spec(vocabulary: int, random: np.random.Generator) -> Any:
    from ctranslate2.specs import WhisperSpec  # noqa: PLC0415 - optional

    def some(*shape: int) -> Any:
        return (random.normal(0, 1, shape) / np.sqrt(shape[-1])).astype(np.float32)

    def linear(spec: Any, out: int, into: int) -> None:
        spec.weight, spec.bias = some(out, into), some(out)

    def norm(spec: Any) -> None:
        spec.gamma, spec.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    def attention(spec: Any, *, is_self: bool) -> None:
        norm(spec.layer_norm)
        sizes = (3 * WIDTH, WIDTH) if is_self else (WIDTH, 2 * WIDTH, WIDTH)
        for each, size in zip(spec.linear, sizes, strict=True):
            linear(each, size, WIDTH)

    def feed_forward(spec: Any) -> None:
        norm(spec.layer_norm)
        linear(spec.linear_0, 4 * WIDTH, WIDTH)
        linear(spec.linear_1, WIDTH, 4 * WIDTH)

    spec = WhisperSpec(1, HEADS, 1, HEADS)
    for conv, into in ((spec.encoder.conv1, MELS), (spec.encoder.conv2, WIDTH)):
        conv.weight, conv.bias = some(WIDTH, into, 3), some(WIDTH)
    spec.encoder.position_encodings.encodings = some(CONTEXT, WIDTH)
    norm(spec.encoder.layer_norm)
    attention(spec.encoder.layer[0].self_attention, is_self=True)
    feed_forward(spec.encoder.layer[0].ffn)
    spec.decoder.embeddings.weight = some(vocabulary, WIDTH)
    spec.decoder.position_encodings.encodings = some(POSITIONS, WIDTH) * 8
    norm(spec.decoder.layer_norm)
    attention(spec.decoder.layer[0].self_attention, is_self=True)
    attention(spec.decoder.layer[0].attention, is_self=False)
    feed_forward(spec.decoder.layer[0].ffn)
    spec.decoder.projection.weight = some(vocabulary, WIDTH) * 4
    return spec


def sense_voice(folder: Path) -> Path:
    """A SenseVoice folder that hears the name of the language it is asked for in any sound."""
    folder.mkdir(parents=True)
    languages = ("auto", "zh", "en", "ja", "ko", "yue")
    tokens = ["<blank>", "<|lang|>", "<|emotion|>", "<|event|>", "<|norm|>", *(f"\u2581{each}" for each in languages)]
    _write_tokens(folder, tokens)
    first = len(tokens) - len(languages)
    prefix = np.eye(len(tokens), dtype=np.float32)[None, 1:first] * 9
    tiny_onnx.write(
        folder / "model.int8.onnx",
        [
            Node("MatMul", ["x", "nothing"], ["frames"]),
            Node("Gather", ["names", "language"], ["name"]),
            Node("Unsqueeze", ["name", "one"], ["row"]),
            Node("Add", ["frames", "row"], ["said"]),
            Node("Concat", ["prefix", "said"], ["logits"], {"axis": 1}),
            # an input nobody uses would be left out
            Node("Add", ["text_norm", "x_length"], ["unused"]),
        ],
        {
            "x": ("float32", ["N", "T", 560]),
            "x_length": ("int32", ["N"]),
            "language": ("int32", ["N"]),
            "text_norm": ("int32", ["N"]),
        },
        {"logits": ("float32", ["N", "L", len(tokens)]), "unused": ("int32", ["N"])},
        {
            "nothing": np.zeros((560, len(tokens)), np.float32),
            "names": np.eye(len(tokens), dtype=np.float32)[first:] * 9,
            "one": np.array([1]),
            "prefix": prefix,
        },
        {
            "model_type": "sense_voice_ctc",
            "vocab_size": len(tokens),
            "lfr_window_size": 7,
            "lfr_window_shift": 6,
            "normalize_samples": 0,
            "with_itn": 14,
            "without_itn": 15,
            **{f"lang_{each}": number for number, each in enumerate(languages)},
            "neg_mean": ",".join(["0"] * 560),
            "inv_stddev": ",".join(["1"] * 560),
        },
    )
    return folder


def paraformer(folder: Path) -> Path:
    """A Paraformer folder that hears nonsense."""
    folder.mkdir(parents=True)
    tokens = ["<blank>", "<s>", "</s>", "hello", "world", "<unk>"]
    _write_tokens(folder, tokens)
    weights = np.zeros((560, len(tokens)), np.float32)
    weights[:280, 3], weights[280:, 4] = 1, 1
    tiny_onnx.write(
        folder / "model.onnx",
        [Node("MatMul", ["speech", "weights"], ["logits"]), Node("Identity", ["speech_lengths"], ["token_num"])],
        {"speech": ("float32", ["N", "T", 560]), "speech_lengths": ("int32", ["N"])},
        {"logits": ("float32", ["N", "T", len(tokens)]), "token_num": ("int32", ["N"])},
        {"weights": weights},
        {
            "model_type": "paraformer",
            "vocab_size": len(tokens),
            "lfr_window_size": 7,
            "lfr_window_shift": 6,
            "neg_mean": ",".join(["0"] * 560),
            "inv_stddev": ",".join(["1"] * 560),
        },
    )
    return folder


def streaming_transducer(folder: Path) -> Path:
    """An LSTM transducer's folder, of the kind that is fed piece by piece; it hears nonsense in capitals."""
    folder.mkdir(parents=True)
    state = ("float32", ["L", "N", 8])
    tiny_onnx.write(
        folder / "encoder-epoch-1.onnx",
        [
            Node("ReduceMean", ["x"], ["encoder_out"], {"axes": [1], "keepdims": 1}),
            Node("Identity", ["h"], ["next_h"]),
            Node("Identity", ["c"], ["next_c"]),
        ],
        {"x": ("float32", ["N", "T", 80]), "h": state, "c": state},
        {"encoder_out": ("float32", ["N", 1, 80]), "next_h": state, "next_c": state},
        {},
        {
            "model_type": "lstm",
            "num_encoder_layers": 1,
            "T": 9,
            "decode_chunk_len": 4,
            "rnn_hidden_size": 8,
            "d_model": 8,
        },
    )
    return _decoder_and_joiner(folder)


def offline_transducer(folder: Path) -> Path:
    """The same for whole turns: files of the same names, and another encoder."""
    folder.mkdir(parents=True)
    tiny_onnx.write(
        folder / "encoder-epoch-1.onnx",
        [Node("Identity", ["x"], ["encoder_out"]), Node("Identity", ["x_lens"], ["encoder_out_lens"])],
        {"x": ("float32", ["N", "T", 80]), "x_lens": ("int64", ["N"])},
        {"encoder_out": ("float32", ["N", "T", 80]), "encoder_out_lens": ("int64", ["N"])},
        {},
        {"model_type": "zipformer2"},
    )
    return _decoder_and_joiner(folder)


def _decoder_and_joiner(folder: Path) -> Path:
    tokens = ["<blk>", "<sos/eos>", "<unk>", *(f"\u2581{each}" for each in "ABCDEFGHIJKLM")]
    _write_tokens(folder, tokens)
    random, size = np.random.default_rng(3), len(tokens)
    table = random.normal(0, 5, (size, size)).astype(np.float32)
    table[:, 1:3] = -1000  # letters only
    tiny_onnx.write(
        folder / "decoder-epoch-1.onnx",
        [
            Node("Gather", ["table", "y"], ["rows"]),
            Node("ReduceMean", ["rows"], ["decoder_out"], {"axes": [1], "keepdims": 0}),
        ],
        {"y": ("int64", ["N", 2])},
        {"decoder_out": ("float32", ["N", size])},
        {"table": table},
        {"context_size": 2, "vocab_size": size},
    )
    tiny_onnx.write(
        folder / "joiner-epoch-1.onnx",
        [Node("MatMul", ["encoder_out", "weights"], ["heard"]), Node("Add", ["heard", "decoder_out"], ["logit"])],
        {"encoder_out": ("float32", ["N", 80]), "decoder_out": ("float32", ["N", size])},
        {"logit": ("float32", ["N", size])},
        {"weights": random.normal(0, 0.1, (80, size)).astype(np.float32)},
        {"joiner_dim": 80},
    )
    return folder


def _write_tokens(folder: Path, tokens: list[str]) -> None:
    (folder / "tokens.txt").write_text("".join(f"{each} {number}\n" for number, each in enumerate(tokens)))
