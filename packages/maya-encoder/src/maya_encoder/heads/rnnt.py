"""The transducer with blanks and labels only (Graves 2012): the head `rnnt`."""

from dataclasses import dataclass
from typing import Literal

from maya_encoder.heads import check_positive, check_rate
from maya_encoder.heads.activations import ACTIVATIONS
from maya_encoder.heads.language import LangVocab
from maya_encoder.heads.transducer import TransducerHead
from maya_encoder.heads.transducer_loss import TransducerSettings


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
    activation: Literal["relu", "tanh", "sigmoid"] = "relu"
    """Activation of the joint network."""
    max_symbols: int = 10
    """Most labels that greedy decoding writes at one frame."""
    fastemit_lambda: float = 0.0
    """FastEmit (arXiv 2010.11148): how much more the gradient of labels counts in training, say 0.005."""
    lang_outputs: bool = False
    """Whether each language has its own output layer and blank, as in AI4Bharat's models; for this the head
    must be built with `lang_vocab`. The prediction network then sees the places of ids in their language."""

    def __post_init__(self) -> None:
        check_positive(self, "prediction_size", "joint_size", "context_size", "num_layers", "max_symbols")
        check_rate(self, "dropout")
        if self.prediction not in ("lstm", "stateless"):
            raise ValueError(f"`prediction` must be lstm or stateless, got {self.prediction!r}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"`activation` must be relu, tanh or sigmoid, got {self.activation!r}")
        if self.fastemit_lambda < 0:
            raise ValueError(f"`fastemit_lambda` must be 0 or more, got {self.fastemit_lambda}")

    def settings(self, training: bool = False) -> TransducerSettings:
        """How the loss is computed; FastEmit and dropout act in training only."""
        return TransducerSettings(
            activation=self.activation,
            dropout=self.dropout if training else 0.0,
            fastemit_lambda=self.fastemit_lambda if training else 0.0,
        )

    def build(self, in_dim: int, vocab_size: int, lang_vocab: LangVocab | None = None) -> TransducerHead:
        """The head for encoder output of width `in_dim`."""
        return TransducerHead(self, in_dim, vocab_size, lang_vocab)
