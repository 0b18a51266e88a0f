"""IndicConformer-600M-multilingual as AI4Bharat publishes it: ONNX or TorchScript, and JSON, in `assets/`.

    encoder.onnx          audio_signal (B, F, T), length -> outputs (B, D, T'), encoded_lengths
    ctc_decoder.onnx      one convolution to all pieces of all languages and a blank
    rnnt_decoder.onnx     embedding and LSTM
    joint_enc, joint_pred, joint_pre_net, joint_post_net_LANG .onnx
    vocab.json            LANG -> pieces;   language_masks.json   LANG -> one boolean a row of ctc_decoder
    preprocessor.ts       the front end; the other parts may be .ts too

Sizes are read off the weights. What the files do not tell is said in the notes.
"""

from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from maya_encoder.acoustic_model import AcousticModelConfig
from maya_encoder.features import LogMel
from maya_encoder.fit import BadCheckpoint
from maya_encoder.heads import HeadConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.interop.imported import Imported
from maya_encoder.interop.indicconformer_encoder import Part, read_encoder
from maya_encoder.interop.indicconformer_vocabulary import read_tokenizer
from maya_encoder.interop.notes import Doubt, FrontendDoubt
from maya_encoder.interop.onnx_graph import OnnxGraph
from maya_encoder.interop.parakeet_files import read_json
from maya_encoder.interop.torchscript import read_torchscript
from maya_encoder.tokenizer import Tokenizer

ACTIVATIONS = {"Relu": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}
ASSUMED = (
    FrontendDoubt(
        "the front end is taken to be the legacy one, at 16 kHz with a hop of 10 ms: code, not weights, says"
        " so"
    ),
    Doubt("every frame is taken to see the whole utterance: a limited context would be code"),
    "dropout and what else concerns training is not in the files; these are this package's defaults",
)
"""What the files do not tell."""


def read(path: str | Path) -> Imported:
    """Encoder, CTC and per-language transducer of a folder with these files.

    Args:
        path: the folder of the repository, or its `assets` folder.

    Raises:
        BadCheckpoint: files are missing, quantised or laid out in another way; the message names the first.
        MissingExtra: onnx is not installed and a part is in ONNX.
    """
    folder = Path(path)
    assets = next((each for each in (folder, folder / "assets") if (each / "vocab.json").is_file()), None)
    if assets is None and _belongs_to_another_model(folder):
        return import_module("maya_encoder.interop.parakeet").read(folder)  # type: ignore[no-any-return]
    if assets is None:
        raise BadCheckpoint(f"{folder} has ONNX files but no vocab.json: it is no IndicConformer")
    tokenizer, notes = read_tokenizer(assets)
    front_end = _front_end(assets)
    filters = front_end.get("fb")
    encoder = read_encoder(_part(assets, "encoder"), assets, None if filters is None else filters.shape[-2])
    tensors = {f"encoder.{name}": tensor for name, tensor in encoder.tensors.items()}
    heads: dict[str, HeadConfig] = {}
    if found := _optional(assets, "ctc_decoder"):
        heads["ctc"] = CTCConfig()
        tensors |= {f"heads.ctc.{name}": tensor for name, tensor in found.tensors.items()}
    if _optional(assets, "rnnt_decoder"):
        heads["rnnt"], own = _transducer(assets, tokenizer)
        tensors |= {f"heads.rnnt.{name}": tensor for name, tensor in own.items()}
    if not heads:
        raise BadCheckpoint(f"{assets} has neither ctc_decoder nor rnnt_decoder, in .onnx or .ts")
    config = AcousticModelConfig(
        encoder=encoder.config,
        heads=heads,
        langs=tuple(tokenizer.names),
        frontend={"num_mels": encoder.num_mels, "frontend": "legacy"},
        multisoftmax=True,
    )
    said = [*encoder.notes, *notes, *_front_end_notes(front_end, encoder.num_mels, assets), *ASSUMED]
    return Imported(config, tokenizer, tensors, said)


def _belongs_to_another_model(folder: Path) -> bool:
    """Whether ONNX files lie beside the files of a Hugging Face model."""
    file = folder / "config.json"
    return file.is_file() and read_json(file).get("model_type") != "iasr"


def _part(assets: Path, name: str) -> Part:
    """The weights of a component; TorchScript, where there is one, keeps more names."""
    if (assets / f"{name}.ts").is_file():
        return Part(read_torchscript(assets / f"{name}.ts"))
    if not (assets / f"{name}.onnx").is_file():
        raise BadCheckpoint(f"{assets} has no {name}.onnx and no {name}.ts")
    graph = OnnxGraph(assets / f"{name}.onnx")
    found = graph.weights()
    return Part(found.tensors, found.nameless, found.folded, graph)


def _optional(assets: Path, name: str) -> Part | None:
    there = any((assets / f"{name}.{suffix}").is_file() for suffix in ("onnx", "ts"))
    return _part(assets, name) if there else None


def _transducer(assets: Path, tokenizer: Tokenizer) -> tuple[RNNTConfig, dict[str, Tensor]]:
    """The prediction network and the joint network with an output layer for each language."""
    tensors = _prediction(_part(assets, "rnnt_decoder"), assets)
    for part in ("enc", "pred"):
        tensors |= _linear(assets, f"joint_{part}", f"joint.{part}")
    for lang in tokenizer.names:
        tensors |= _linear(assets, f"joint_post_net_{lang}", f"joint.joint_net.2.{lang}")
    pre_net = _optional(assets, "joint_pre_net")
    kinds = pre_net.graph.op_types if pre_net is not None and pre_net.graph is not None else ["Relu"]
    activation = next((name for kind, name in ACTIVATIONS.items() if kind in kinds), None)
    if activation is None:
        raise BadCheckpoint(
            f"{assets / 'joint_pre_net.onnx'} must hold an activation, got {', '.join(kinds)}"
        )
    embed = tensors["prediction.embed.weight"]
    return (
        RNNTConfig(
            prediction_size=embed.shape[1],
            joint_size=len(tensors["joint.enc.weight"]),
            num_layers=sum("weight_ih_l" in name for name in tensors),
            activation=activation,  # type: ignore[arg-type]
            lang_outputs=True,
        ),
        tensors,
    )


def _prediction(part: Part, assets: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in part.tensors.items():
        if "lstm." in name:
            found[f"prediction.dec_rnn.lstm.{name.rpartition('lstm.')[2]}"] = tensor
        elif name.endswith("embed.weight"):
            found["prediction.embed.weight"] = tensor
    if "prediction.embed.weight" not in found or len(found) < 5:
        raise BadCheckpoint(
            f"{assets}: rnnt_decoder must hold an embedding and an LSTM,"
            f" got {', '.join(part.tensors) or 'nothing'}"
        )
    return found


def _linear(assets: Path, name: str, ours: str) -> dict[str, Tensor]:
    """The one linear layer of a component."""
    part = _part(assets, name)
    weights = [tensor for tensor in part.tensors.values() if tensor.ndim == 2]
    weights += [each.weight for each in part.nameless]
    biases = [tensor for tensor in part.tensors.values() if tensor.ndim == 1]
    if len(weights) != 1 or len(biases) != 1:
        raise BadCheckpoint(
            f"{assets}: {name} must hold one matrix and one bias, got {len(weights)} and {len(biases)}"
        )
    return {f"{ours}.weight": weights[0], f"{ours}.bias": biases[0]}


def _front_end(assets: Path) -> dict[str, Tensor]:
    """Tensors of preprocessor.ts by the last part of their names; none where the file is missing."""
    if not (assets / "preprocessor.ts").is_file():
        return {}
    found = read_torchscript(assets / "preprocessor.ts")
    return {name.rpartition(".")[2]: tensor.float() for name, tensor in found.items()}


def _front_end_notes(found: dict[str, Tensor], num_mels: int, assets: Path) -> list[str]:
    """Compare filters and window, where they were found, with those of the legacy front end."""
    if "fb" not in found or "window" not in found:
        doubt = "there is no preprocessor.ts with filters and a window to compare the front end with"
        return [FrontendDoubt(doubt)]
    wanted = LogMel(num_mels, "legacy")
    pairs = ((found["fb"].squeeze(0).t(), wanted.filters), (found["window"], wanted.window))
    if any(a.shape != b.shape or not torch.allclose(a, b, atol=1e-5) for a, b in pairs):
        raise BadCheckpoint(
            f"{assets / 'preprocessor.ts'} has filters {list(found['fb'].shape)} and a window"
            f" {list(found['window'].shape)} that are not those of {num_mels} mel bins at 16 kHz"
        )
    return []
