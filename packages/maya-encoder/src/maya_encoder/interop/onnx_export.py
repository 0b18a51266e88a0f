"""Encoder and CTC head as ONNX: features and lengths in, log-probabilities and lengths out.

Written with torch's tracing exporter at opset 17: it takes a second where the one over torch.export takes a
minute, and is in torch 2.9 to 2.13 at least. The file is then run with onnxruntime on several lengths and
compared with the model, so that a file that is written is known to be right.
"""

import copy
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.interop.new_folder import new_folder
from maya_encoder.interop.plain_encoder import PlainEncoder
from maya_encoder.modes import evaluation_view

OPSET = 17
INSTALL = "pip install 'maya-encoder[onnx]'"
TOLERANCE = 1e-3
"""Largest difference of a log-probability, between onnxruntime and torch, that is rounding."""
CHECKED_LENS = ((83, 50, 1), (40,), (9, 200))
"""Feature frames of the batches that every exported file is tried on."""


Numbers = Callable[..., tuple[Tensor, Tensor]]
"""From the inputs of a graph to log-probabilities (B, T', V) and lengths (B,)."""


@dataclass(frozen=True)
class Names:
    """What the inputs and outputs of a file are called, and which of their axes are free."""

    inputs: tuple[str, ...]
    outputs: tuple[str, str]
    features_axes: tuple[str, ...]
    """Names of the axes of the first input; all but `mels` are free."""

    def free(self) -> dict[str, dict[int, str]]:
        """Axes without a fixed size, as torch's exporter takes them."""
        features = {i: name for i, name in enumerate(self.features_axes) if name != "mels"}
        lens = {name: {0: "batch"} for name in (*self.inputs[1:], self.outputs[1])}
        return {self.inputs[0]: features, self.outputs[0]: {0: "batch", 1: "frames"}, **lens}


OUR_NAMES = Names(
    ("features", "feature_lens", "lang_ids"), ("log_probs", "encoder_out_lens"), ("batch", "time", "mels")
)


class MissingExtra(ImportError):
    """ONNX was asked for where its packages are not installed."""


class CTCGraph(nn.Module):
    """What the file computes.

    Args:
        model: with a head named `ctc`; its weights are shared.
    """

    def __init__(self, model: AcousticModel) -> None:
        super().__init__()
        self.plain = PlainEncoder(model.encoder)
        self.head = model.head("ctc")
        self.prompt = model.prompt
        ids = getattr(model, "prompt_ids", None)
        self.register_buffer("prompt_ids", ids, persistent=False)

    def forward(
        self, features: Tensor, feature_lens: Tensor, lang_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities (B, T', V) and lengths (B,)."""
        encoder_out, lens = self.plain(features, feature_lens, lang_ids)
        if self.prompt is not None and lang_ids is not None:
            prompt_ids: Any = self.prompt_ids
            encoder_out = self.prompt(encoder_out, prompt_ids[lang_ids])
        return self.head(encoder_out, lang_ids), lens

    def reference(
        self, features: Tensor, feature_lens: Tensor, lang_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same from the encoder's own forward."""
        encoder_out, lens = self.plain.encoder(features, feature_lens, lang_ids)
        if self.prompt is not None and lang_ids is not None:
            prompt_ids: Any = self.prompt_ids
            encoder_out = self.prompt(encoder_out, prompt_ids[lang_ids])
        return self.head(encoder_out, lang_ids), lens


def export_onnx(model: AcousticModel, path: str | Path) -> float:
    """Write `model.onnx` and what is needed to use it.

    Batch and time are free. A model with a language embedding, a prompt or language masks has a third input,
    `lang_ids`: places in `langs` of the metadata.

    Args:
        model: with a CTC head.
        path: a new folder, which gets model.onnx and tokenizer/; or a file that ends in .onnx.

    Returns:
        The largest difference of a log-probability from the model's own, over several lengths and paddings.

    Raises:
        MissingExtra: onnx or onnxruntime is not installed.
        ValueError: the model has no CTC head, or the file does not compute what the model does.
    """
    check_exportable(model)
    path = Path(path)
    if path.suffix == ".onnx":
        return _write_file(model, path)
    with new_folder(path) as folder:
        difference = _write(model, folder / "model.onnx")
        model.tokenizer.save(folder / "tokenizer")
    return difference


def check_exportable(model: AcousticModel) -> None:
    """Refuse a model without a CTC head, and an environment without the packages of the extra `onnx`."""
    for name in ("onnx", "onnxruntime"):
        extra(name)
    if "ctc" not in model.heads:
        raise ValueError(
            f"ONNX holds encoder and CTC head, and this model's heads are: {', '.join(model.heads)}"
        )


def uses_languages(model: AcousticModel) -> bool:
    """Whether the numbers depend on the language."""
    embeds = model.encoder.lang_position != "none"
    return embeds or model.prompt is not None or bool(model.config.multisoftmax)


def _write_file(model: AcousticModel, path: Path) -> float:
    if path.exists():
        raise FileExistsError(f"{path} exists, so nothing is written there")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
        difference = _write(model, Path(unfinished) / path.name)
        for file in sorted(
            Path(unfinished).iterdir(), reverse=True
        ):  # weights before the graph that names them
            os.replace(file, path.parent / file.name)
    return difference


def _write(model: AcousticModel, file: Path) -> float:
    graph = CTCGraph(in_float32(model)).eval()
    langs = len(model.langs) if uses_languages(model) else 0
    batches = [example_batch(lens, model.frontend.num_mels, langs) for lens in CHECKED_LENS]
    write_graph(graph, batches[0], file, OUR_NAMES, described(model))
    return largest_difference(graph.reference, batches, file, OUR_NAMES)


def write_graph(
    graph: nn.Module, inputs: tuple[Tensor, ...], file: Path, names: Names, metadata: Mapping[str, str]
) -> None:
    """Trace `graph` on a batch and write it, weights and all."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that the exporter is the older one; what a trace may miss is checked
        torch.onnx.export(
            graph,
            inputs,
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=names.inputs[: len(inputs)],
            output_names=names.outputs,
            dynamic_axes=names.free(),
        )
    _finish(file, metadata)


def _finish(file: Path, metadata: Mapping[str, str]) -> None:
    """Add `metadata`, and put large weights into one file beside the graph: the exporter writes many."""
    onnx: Any = extra("onnx")
    program = onnx.load(str(file))
    scattered = [other for other in file.parent.iterdir() if other != file]
    for other in scattered:
        other.unlink()
    onnx.helper.set_model_props(program, dict(metadata))
    large = {"save_as_external_data": True, "location": f"{file.name}.data"} if scattered else {}
    onnx.save_model(program, str(file), **large)


def in_float32(model: AcousticModel) -> AcousticModel:
    """A view of the model in evaluation mode, or a copy where it is not in float32 on the CPU."""
    view = evaluation_view(model)
    first = next(model.parameters())
    if first.device.type == "cpu" and first.dtype == torch.float32:
        return view
    return copy.deepcopy(view).to("cpu", torch.float32)


def example_batch(lens: Sequence[int], num_mels: int, langs: int) -> tuple[Tensor, ...]:
    """Random features (B, T, F), their lengths, and languages in turn where there are any."""
    generator = torch.Generator().manual_seed(sum(lens))
    features = torch.randn(len(lens), max(lens), num_mels, generator=generator)
    found = (features, torch.tensor(lens))
    return (*found, torch.arange(len(lens)) % langs) if langs else found


def described(model: AcousticModel) -> dict[str, str]:
    """What a file says of itself: JSON values under names that begin with `maya.`."""
    told = {
        "blank_id": model.tokenizer.vocab_size,
        "langs": list(model.langs),
        "frontend": model.frontend.frontend,
        "num_mels": model.frontend.num_mels,
        "sampling_rate": model.frontend.sampling_rate,
        "subsampling_factor": model.encoder.subsampling_factor,
    }
    return {f"maya.{key}": json.dumps(value) for key, value in told.items()}


@torch.no_grad()
def largest_difference(
    reference: Numbers, batches: Sequence[tuple[Tensor, ...]], file: Path, names: Names
) -> float:
    """How far the log-probabilities of a file are from those of `reference`, on real frames.

    Raises:
        ValueError: further than rounding explains, or the lengths differ.
    """
    runtime: Any = extra("onnxruntime")
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    worst = 0.0
    for inputs in batches:
        named = {name: tensor.numpy() for name, tensor in zip(names.inputs, inputs, strict=False)}
        found, found_lens = session.run(None, named)
        expected, expected_lens = reference(*inputs)
        if found_lens.tolist() != expected_lens.tolist():
            raise ValueError(
                f"{file.name} gives lengths {found_lens.tolist()}, the model {expected_lens.tolist()}"
            )
        for row, other, length in zip(torch.from_numpy(found), expected, expected_lens.tolist(), strict=True):
            worst = max(worst, float((row[:length] - other[:length]).abs().max()))
    if not worst <= TOLERANCE:
        raise ValueError(
            f"{file.name} differs from the model by {worst:.2g}, and {TOLERANCE} is the most allowed"
        )
    return worst


def extra(name: str) -> ModuleType:
    """A package of the extra `onnx`.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise MissingExtra(f"ONNX needs the package {name!r}: {INSTALL}") from None
