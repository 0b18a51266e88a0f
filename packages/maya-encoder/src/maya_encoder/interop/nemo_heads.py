"""CTC, RNNT and TDT heads of NeMo models: which there are, their settings, and the names of their tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from maya_encoder.fit import BadCheckpoint
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.heads.tdt import TDTConfig
from maya_encoder.interop.nemo_section import Section

MAX_SYMBOLS = 10
"""NeMo's most labels a frame in greedy decoding, where the config gives none."""


@dataclass
class Heads:
    """What was found: head configs by their names here, and tensors under the names of the model."""

    configs: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


def read_heads(config: Section, tensors: Mapping[str, Tensor], lang_outputs: bool = False) -> Heads:
    """The heads of a model, told by its tensors.

    A pure CTC model keeps its head under `decoder`, a hybrid one under `ctc_decoder`; a transducer has
    `decoder.prediction` and `joint`, and is TDT where its config gives durations.

    Args:
        config: the whole config.
        tensors: the archive's state dict.
        lang_outputs: the joint network has one output layer a language.

    Raises:
        BadCheckpoint: a head has a setting that cannot be built here.
    """
    found = Heads()
    for prefix in ("ctc_decoder.", "decoder."):
        if f"{prefix}decoder_layers.0.weight" in tensors:
            found.configs["ctc"] = CTCConfig()
            found.tensors |= _moved(tensors, prefix + "decoder_layers.", "heads.ctc.decoder_layers.")
    if any(name.startswith("joint.") for name in tensors):
        head = _transducer(config, tensors, lang_outputs)
        found.configs[head.name] = head
        found.tensors |= _prediction(tensors, f"heads.{head.name}.prediction.")
        found.tensors |= _joint(tensors, f"heads.{head.name}.joint.")
    return found


def _transducer(config: Section, tensors: Mapping[str, Tensor], lang_outputs: bool) -> RNNTConfig | TDTConfig:
    decoder, joint = config.section("decoder"), config.section("joint")
    _check_decoder(decoder)
    network, prediction = joint.section("jointnet"), decoder.section("prednet")
    settings: dict[str, Any] = {
        "prediction_size": prediction.whole("pred_hidden"),
        "num_layers": prediction.whole("pred_rnn_layers", 1),
        "joint_size": network.whole("joint_hidden"),
        "dropout": network.number("dropout", 0.0),
        "activation": network.one_of("activation", ("relu", "tanh", "sigmoid"), "relu"),
        "max_symbols": _max_symbols(config),
    }
    durations, loss = _durations(config), config.section("loss")
    _check_extra_outputs(joint, durations)
    terms = loss.section("tdt_kwargs" if durations else "warprnnt_numba_kwargs")
    settings["fastemit_lambda"] = terms.number("fastemit_lambda", 0.0)
    try:
        if durations:
            omega, sigma = terms.number("omega", 0.0), terms.number("sigma", 0.0)
            return TDTConfig(**settings, durations=durations, sigma=sigma, omega=omega)
        return RNNTConfig(**settings, lang_outputs=lang_outputs)
    except ValueError as error:
        raise BadCheckpoint(f"{config.source}: the transducer cannot be built here: {error}") from None


def _check_decoder(decoder: Section) -> None:
    target = str(decoder.get("_target_", "RNNTDecoder")).rpartition(".")[2]
    if target != "RNNTDecoder":
        raise decoder.refusal("_target_", target, "an RNNTDecoder (an LSTM)")
    if "normalization_mode" in decoder:
        raise decoder.refusal("normalization_mode", decoder.get("normalization_mode"), "null")
    if not decoder.flag("blank_as_pad", True):
        raise decoder.refusal("blank_as_pad", False, "true")
    prediction = decoder.section("prednet")
    prediction.one_of("rnn_hidden_size", (-1, prediction.whole("pred_hidden")), -1)


def _durations(config: Section) -> tuple[int, ...]:
    """Durations of TDT, empty for RNNT; the loss names them, or else the model or its decoding."""
    loss = config.section("loss")
    name = str(loss.get("loss_name", "default"))
    if name.startswith("multiblank"):
        raise loss.refusal("loss_name", name, "an RNNT or TDT loss")
    places = (
        (loss.section("tdt_kwargs") if name == "tdt" else Section({}, config.source), "durations"),
        (config.section("model_defaults"), "tdt_durations"),
        (config.section("decoding"), "durations"),
    )
    for section, key in places:
        if values := section.get(key):
            if not all(type(value) is int and value >= 0 for value in values):
                raise section.refusal(key, values, "whole numbers from 0")
            return tuple(values)
    if name == "tdt":
        raise loss.refusal("tdt_kwargs.durations", None, "the durations of the TDT model")
    return ()


def _check_extra_outputs(joint: Section, durations: tuple[int, ...]) -> None:
    extra = joint.whole("num_extra_outputs", 0)
    if extra != len(durations):
        given = f"{len(durations)}, the number of durations,"
        raise joint.refusal("num_extra_outputs", extra, given)


def _max_symbols(config: Section) -> int:
    greedy = config.section("decoding").section("greedy")
    found = greedy.get("max_symbols", greedy.get("max_symbols_per_step", MAX_SYMBOLS))
    return found if type(found) is int and found > 0 else MAX_SYMBOLS


def _prediction(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The prediction network's tensors; NeMo starts from zeros, which is here the last row, the blank's."""
    found = _moved(tensors, "decoder.prediction.", prefix)
    if (embed := found.get(f"{prefix}embed.weight")) is not None:
        found[f"{prefix}embed.weight"] = torch.cat([embed[:-1], torch.zeros_like(embed[-1:])])
    return found


def _joint(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The joint network's tensors; the output layer, which NeMo has at 1 without dropout, is always at 2."""
    found = _moved(tensors, "joint.", prefix)
    without_dropout = f"{prefix}joint_net.1."
    return {
        name.replace(without_dropout, f"{prefix}joint_net.2.")
        if name.startswith(without_dropout)
        else name: tensor
        for name, tensor in found.items()
    }


def _moved(tensors: Mapping[str, Tensor], old: str, new: str) -> dict[str, Tensor]:
    return {new + name.removeprefix(old): value for name, value in tensors.items() if name.startswith(old)}
