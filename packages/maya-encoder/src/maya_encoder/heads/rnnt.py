"""The transducer head: prediction network, joint network, exact loss, greedy decoding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maya_encoder.heads import check_positive, check_rate
from maya_encoder.heads.greedy import greedy_decode
from maya_encoder.heads.language import bias_of, vocabulary_bias
from maya_encoder.heads.prediction import LSTMPrediction, StatelessPrediction
from maya_encoder.heads.rnnt_loss import ACTIVATIONS, JointSettings, Targets, rnnt_loss


@dataclass(kw_only=True)
class RNNTConfig:
    """The transducer head."""

    name: str = "rnnt"
    """Entry-point name."""
    prediction: Literal["lstm", "stateless"] = "lstm"
    """Whether the prediction network sees all labels so far or the last few."""
    prediction_size: int = 640
    """Width of the prediction network."""
    joint_size: int = 640
    """Width of the joint network."""
    context_size: int = 2
    """Labels that a stateless prediction network sees."""
    num_layers: int = 1
    """LSTM layers."""
    dropout: float = 0.0
    """Share of values dropped after the prediction network and in the joint network."""
    activation: Literal["relu", "tanh"] = "relu"
    """Activation of the joint network."""
    max_symbols: int = 10
    """Most labels that greedy decoding writes at one frame."""

    def __post_init__(self) -> None:
        check_positive(self, "prediction_size", "joint_size", "context_size", "num_layers", "max_symbols")
        check_rate(self, "dropout")
        if self.prediction not in ("lstm", "stateless"):
            raise ValueError(f"`prediction` must be lstm or stateless, got {self.prediction!r}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"`activation` must be relu or tanh, got {self.activation!r}")

    def build(
        self, in_dim: int, vocab_size: int, lang_vocab: Mapping[str, Sequence[int]] | None = None
    ) -> "RNNTHead":
        """The head for encoder output of width `in_dim`."""
        return RNNTHead(self, in_dim, vocab_size, lang_vocab)


class Joint(nn.Module):
    """Two projections and an output layer; names as in NeMo's RNNTJoint."""

    def __init__(self, encoder_size: int, config: RNNTConfig, vocab_size: int) -> None:
        super().__init__()
        self.enc = nn.Linear(encoder_size, config.joint_size)
        self.pred = nn.Linear(config.prediction_size, config.joint_size)
        activation = nn.ReLU() if config.activation == "relu" else nn.Tanh()
        self.joint_net = nn.Sequential(
            activation, nn.Dropout(config.dropout), nn.Linear(config.joint_size, vocab_size)
        )

    def forward(self, encoder_part: Tensor, label_part: Tensor) -> Tensor:
        """Logits (..., V) of the sum of two projected parts (..., J)."""
        logits: Tensor = self.joint_net(encoder_part + label_part)
        return logits


class RNNTHead(nn.Module):
    """`decoder.prediction.*` and `joint.*` of a NeMo checkpoint load as `prediction.*` and `joint.*`."""

    prediction: LSTMPrediction | StatelessPrediction
    lang_bias: Tensor | None

    def __init__(
        self,
        config: RNNTConfig,
        in_dim: int,
        vocab_size: int,
        lang_vocab: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.blank_id = vocab_size - 1
        if config.prediction == "lstm":
            self.prediction = LSTMPrediction(vocab_size, config.prediction_size, config.num_layers)
        else:
            self.prediction = StatelessPrediction(vocab_size, config.prediction_size, config.context_size)
        self.joint = Joint(in_dim, config, vocab_size)
        self.register_buffer("lang_bias", vocabulary_bias(vocab_size, lang_vocab), persistent=False)

    def loss(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        tokens: Tensor,
        token_lens: Tensor,
        lang_ids: Tensor | None = None,
    ) -> Tensor:
        """Negative log-likelihood (B,), exact, in single precision."""
        dropout = self.config.dropout if self.training else 0.0
        states = F.dropout(self.prediction(tokens), dropout)
        encoder_part, label_part = self.joint.enc(encoder_out), self.joint.pred(states)
        output = cast(nn.Linear, self.joint.joint_net[2])
        with torch.autocast(encoder_out.device.type, enabled=False):
            return rnnt_loss(
                encoder_part.float(),
                label_part.float(),
                (output.weight.float(), output.bias.float()),
                Targets(encoder_out_lens, tokens, token_lens, bias_of(self.lang_bias, lang_ids)),
                JointSettings(self.config.activation, dropout),
            )

    def decode(
        self, encoder_out: Tensor, encoder_out_lens: Tensor, lang_ids: Tensor | None = None
    ) -> list[list[int]]:
        """Greedy labels of each utterance."""
        forbidden = bias_of(self.lang_bias, lang_ids)
        return greedy_decode(self, encoder_out, encoder_out_lens, forbidden)
