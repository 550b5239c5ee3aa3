"""ONNX files written by hand, field by field as onnx.proto3 numbers them, for models of a few nodes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_OPSET, _IR_VERSION = 13, 8
_TYPES = {"float32": 1, "int32": 6, "int64": 7}
_INT, _INTS = 2, 7

Shape = Sequence[int | str]


@dataclass(frozen=True)
class Node:
    """``attributes`` are whole numbers or lists of them."""

    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, int | Sequence[int]] = field(default_factory=dict)


def write(
    path: Path,
    nodes: Sequence[Node],
    inputs: Mapping[str, tuple[str, Shape]],
    outputs: Mapping[str, tuple[str, Shape]],
    constants: Mapping[str, NDArray[np.generic]],
    metadata: Mapping[str, object],
) -> None:
    """``inputs`` and ``outputs`` have a numpy type's name and a shape; a dimension that is text may be any."""
    graph = b"".join(_part(1, _node(each)) for each in nodes) + _part(2, b"tiny")
    graph += b"".join(_part(5, _tensor(name, array)) for name, array in constants.items())
    graph += b"".join(_part(11, _value(name, *each)) for name, each in inputs.items())
    graph += b"".join(_part(12, _value(name, *each)) for name, each in outputs.items())
    model = _number(1, _IR_VERSION) + _part(7, graph) + _part(8, _number(2, _OPSET))
    for key, value in metadata.items():
        model += _part(14, _part(1, key.encode()) + _part(2, str(value).encode()))
    path.write_bytes(model)


def _node(node: Node) -> bytes:
    data = b"".join(_part(1, each.encode()) for each in node.inputs)
    data += b"".join(_part(2, each.encode()) for each in node.outputs) + _part(4, node.operator.encode())
    for name, value in node.attributes.items():
        if isinstance(value, int):
            given = _number(3, value) + _number(20, _INT)
        else:
            given = b"".join(_number(8, each) for each in value) + _number(20, _INTS)
        data += _part(5, _part(1, name.encode()) + given)
    return data


def _tensor(name: str, array: NDArray[np.generic]) -> bytes:
    dimensions = b"".join(_number(1, each) for each in array.shape)
    return dimensions + _number(2, _TYPES[array.dtype.name]) + _part(8, name.encode()) + _part(9, array.tobytes())


def _value(name: str, kind: str, shape: Shape) -> bytes:
    dimensions = b"".join(
        _part(1, _number(1, each) if isinstance(each, int) else _part(2, each.encode())) for each in shape
    )
    return _part(1, name.encode()) + _part(2, _part(1, _number(1, _TYPES[kind]) + _part(2, dimensions)))


def _number(tag: int, value: int) -> bytes:
    return _varint(tag << 3) + _varint(value % (1 << 64))


def _part(tag: int, data: bytes) -> bytes:
    return _varint(tag << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes(data) + bytes([value])
