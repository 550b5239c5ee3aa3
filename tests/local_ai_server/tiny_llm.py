"""A tiny llama whose weights are made so that each character has one that follows it, in the folder a real one has.

There is no attention in it: an answer depends on the last character of what it answers, and is the same every time.
"""

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, HIDDEN = 64, 2, 2, 64
CONTEXT = 1024
"""Tokens, each a byte, that it says it was trained on."""
ANSWERS: Mapping[str, str] = {"?": "Fri 9-5", "!": "Bye.[hangup]", "~": "xz", "#": ""}
"""By the last character of what is answered. No two have a character in common, and no character comes twice."""
ENDLESS = "~"
"""What is answered with ``xzxzxz…`` until the model is stopped."""
TEMPLATE = (
    "{% if messages[-1].role != 'user' %}{{ raise_exception('the user must speak last') }}{% endif %}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "assistant: {{ messages[-1].content[-1] }}"
)
_SPECIAL = ("<unk>", "<s>", "</s>")
_END = _SPECIAL.index("</s>")


def llama(folder: Path) -> Path:
    """The path of the GGUF file (0.4 MB)."""
    folder.mkdir(parents=True)
    path = folder / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    _add_vocabulary(writer)
    for name, weights in _weights().items():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: gguf.GGUFWriter) -> None:
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))])
    writer.add_token_scores([0.0] * len(types))
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(_END)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def _weights() -> dict[str, np.ndarray]:
    tokens = len(_SPECIAL) + 256
    meanings = np.random.default_rng(7).normal(size=(tokens, WIDTH)).astype(np.float32)
    outputs = np.zeros_like(meanings)
    for token, following in _followers().items():
        outputs[following] += meanings[token]
    square, ones = np.zeros((WIDTH, WIDTH), np.float32), np.ones(WIDTH, np.float32)
    weights = {"token_embd.weight": meanings, "output_norm.weight": ones, "output.weight": outputs}
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            weights[f"blk.{layer}.{name}.weight"] = square
        for name in ("attn_norm", "ffn_norm"):
            weights[f"blk.{layer}.{name}.weight"] = ones
    return weights


def _followers() -> dict[int, int]:
    """Token by the token before it."""
    followers = {}
    for asked, answer in ANSWERS.items():
        tokens = [byte + len(_SPECIAL) for byte in (asked + answer).encode()]
        end = tokens[1] if asked == ENDLESS else _END
        followers.update(zip(tokens, [*tokens[1:], end], strict=True))
    return followers
