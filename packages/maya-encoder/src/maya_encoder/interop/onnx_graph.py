"""Weights out of an ONNX file, under the names of the modules that they came from.

The tracing exporter of torch keeps names where it can. Where it turns a matrix for a product, or folds a
batch norm into a convolution, the result is called `onnx::MatMul_1234` or the like. Such a weight is told by
its node's name, which is the path of the module; or else by the name of the bias that is added behind it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop.onnx_export import extra

QUANTIZED = re.compile(r"Quant|Integer|NBits|QLinear")
_NAMED = re.compile(r"(?:\w+\.)*(?:\w*weight\w*|\w*bias\w*|running_mean|running_var)")
_TORCH_GATES = (0, 2, 3, 1)
"""ONNX has input, output, forget, cell; torch has input, forget, cell, output."""


class Nameless(NamedTuple):
    """A weight whose module cannot be told."""

    kind: str
    """`MatMul` or `Conv`."""
    weight: Tensor
    bias: Tensor | None
    """Of a convolution whose bias has no name either: a batch norm is folded into it."""


@dataclass
class Weights:
    """What a file holds."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    """By module and parameter, such as `layers.0.feed_forward1.linear1.weight`."""
    nameless: list[Nameless] = field(default_factory=list)
    """In the order of the graph."""
    folded: set[str] = field(default_factory=set)
    """Convolutions that carry a batch norm in their weights."""


class OnnxGraph:
    """A graph without its external data, which are read when asked for.

    Args:
        path: the `.onnx` file; weights beside it may be in files of their own.

    Raises:
        BadCheckpoint: the file is damaged or quantised.
        MissingExtra: onnx is not installed.
    """

    def __init__(self, path: Path) -> None:
        onnx: Any = extra("onnx")
        self.path = path
        try:
            self._graph = onnx.load(str(path), load_external_data=False).graph
        except Exception as error:  # protobuf's own class, which is no dependency
            raise BadCheckpoint(f"{path} is damaged or no ONNX file: {str(error)[:100]}") from None
        self._tensors = {tensor.name: tensor for tensor in self._graph.initializer}
        self.nodes: Sequence[Any] = self._graph.node
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self._tensors[node.output[0]] = node.attribute[0].t
        self._same = {node.output[0]: node.input[0] for node in self.nodes if node.op_type == "Identity"}
        self._refuse_quantized()

    @property
    def op_types(self) -> list[str]:
        """The kinds of all nodes, in order."""
        return [node.op_type for node in self.nodes]

    def input_size(self, name: str, axis: int) -> int | None:
        """A fixed size of an input, or None."""
        for each in self._graph.input:
            if each.name == name and len(each.type.tensor_type.shape.dim) > axis:
                return each.type.tensor_type.shape.dim[axis].dim_value or None
        return None

    def weights(self) -> Weights:
        """All weights, by name where one can be told."""
        found = Weights()
        for name in self._tensors:
            if _NAMED.fullmatch(name):
                found.tensors[name] = self.tensor(name)
        for name, source in self._same.items():  # equal tensors are stored once
            if _NAMED.fullmatch(name) and self._root(source) in self._tensors:
                found.tensors[name] = self.tensor(source)
        for node in self.nodes:
            self._add(node, found)
        return found

    def tensor(self, name: str) -> Tensor:
        """A weight or constant, floating ones in float32."""
        proto = self._tensors[self._root(name)]
        onnx: Any = extra("onnx")
        if proto.data_location == onnx.TensorProto.EXTERNAL:
            self._read_external(proto)
        array = onnx.numpy_helper.to_array(proto)
        found = torch.from_numpy(np.array(array))
        return found.float() if found.is_floating_point() else found

    def scalars(self) -> Iterator[tuple[int, str, float]]:
        """Place and kind of nodes with a constant number among their inputs, and that number."""
        for place, node in enumerate(self.nodes):
            for name in node.input:
                proto = self._tensors.get(self._root(name))
                if proto is not None and list(proto.dims) in ([], [1]):
                    yield place, node.op_type, float(self.tensor(name))

    def place_of(self, prefix: str) -> int:
        """The first node that uses a weight whose name begins with `prefix`."""
        uses = (i for i, node in enumerate(self.nodes) if any(name.startswith(prefix) for name in node.input))
        return next(uses, len(self.nodes))

    def _root(self, name: str) -> str:
        while name in self._same:
            name = self._same[name]
        return name

    def _add(self, node: Any, found: Weights) -> None:
        if node.op_type == "LSTM":
            self._add_lstm(node, found)
        if node.op_type not in ("MatMul", "Gemm", "Conv") or len(node.input) < 2:
            return
        weight = self._root(node.input[1])
        if weight not in self._tensors or _NAMED.fullmatch(node.input[1]):
            return
        turned = node.op_type == "MatMul" or (node.op_type == "Gemm" and not _attribute(node, "transB", 0))
        tensor = self.tensor(weight).t().contiguous() if turned else self.tensor(weight)
        folded = node.op_type == "Conv" and len(node.input) > 2 and not _NAMED.fullmatch(node.input[2])
        bias = self.tensor(node.input[2]) if folded else None
        module = self._module(node)
        if module is None:
            found.nameless.append(Nameless("Conv" if node.op_type == "Conv" else "MatMul", tensor, bias))
            return
        found.tensors[_joined(module, "weight")] = tensor
        if bias is not None:
            found.tensors[_joined(module, "bias")] = bias
            found.folded.add(module)

    def _add_lstm(self, node: Any, found: Weights) -> None:
        layer = sum(name.startswith("lstm.weight_ih_l") for name in found.tensors)
        inputs, recurrent, biases = (self.tensor(name)[0] for name in node.input[1:4])
        for_input, for_state = biases.chunk(2)
        for part, tensor in (
            ("weight_ih", inputs),
            ("weight_hh", recurrent),
            ("bias_ih", for_input),
            ("bias_hh", for_state),
        ):
            gates = tensor.chunk(4)
            found.tensors[f"lstm.{part}_l{layer}"] = torch.cat([gates[i] for i in _TORCH_GATES])

    def _module(self, node: Any) -> str | None:
        """The module that a node stands for: the path in its name, else the owner of the bias behind it."""
        parts: list[str] = []
        for part in node.name.split("/")[1:-1]:  # a list shows up as `/layers/layers.0/`
            if parts and part.startswith(f"{parts[-1]}."):
                parts.pop()
            parts.append(part)
        if parts:
            return ".".join(parts)
        biases = list(node.input[2:])
        for other in self.nodes:
            if other.op_type == "Add" and node.output[0] in other.input:
                biases += other.input
        named = [name for name in biases if _NAMED.fullmatch(name) and name.endswith("bias")]
        return named[0].rpartition(".")[0] if named else None

    def _read_external(self, proto: Any) -> None:
        told = {entry.key: entry.value for entry in proto.external_data}
        location = told.get("location", "")
        if not location or Path(location).name != location or "\\" in location:
            raise BadCheckpoint(f"{self.path} is refused: its tensor {proto.name!r} is kept in {location!r}")
        file = self.path.parent / location
        if not file.is_file():
            raise BadCheckpoint(f"{self.path} needs {location}, which is not beside it")
        with file.open("rb") as stream:
            stream.seek(int(told.get("offset", 0)))
            proto.raw_data = stream.read(int(told.get("length", -1)))
        proto.data_location = 0

    def _refuse_quantized(self) -> None:
        if kinds := sorted({kind for kind in self.op_types if QUANTIZED.search(kind)}):
            raise BadCheckpoint(
                f"{self.path} is quantised ({', '.join(kinds)}), and only weights in floating point are read"
            )


def _attribute(node: Any, name: str, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), default)


def _joined(module: str, name: str) -> str:
    return f"{module}.{name}" if module else name
