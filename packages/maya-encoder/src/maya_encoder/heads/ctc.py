"""Connectionist temporal classification: one linear layer, a label or a blank a frame."""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maya_encoder.decoding.dispatch import decode
from maya_encoder.heads import Reduction, reduce_loss
from maya_encoder.heads.language import LangVocab, bias_of, vocabulary_bias
from maya_encoder.heads.targets import Targets, check_targets


@dataclass(kw_only=True)
class CTCConfig:
    """The CTC head; it has no settings."""

    name: str = "ctc"
    """Entry-point name."""

    def build(self, in_dim: int, vocab_size: int, lang_vocab: LangVocab | None = None) -> "CTCHead":
        """The head for encoder output of width `in_dim`."""
        return CTCHead(in_dim, vocab_size, lang_vocab)


class CTCHead(nn.Module):
    """Parameter names are those of NeMo's ConvASRDecoder."""

    lang_bias: Tensor | None

    def __init__(self, in_dim: int, vocab_size: int, lang_vocab: LangVocab | None = None) -> None:
        super().__init__()
        self.blank_id = vocab_size - 1
        self.decoder_layers = nn.Sequential(nn.Conv1d(in_dim, vocab_size, kernel_size=1))
        self.register_buffer("lang_bias", vocabulary_bias(vocab_size, lang_vocab), persistent=False)

    def log_probs(self, encoder_out: Tensor, lang_ids: Tensor | None = None) -> Tensor:
        """Log-probabilities (B, T, V) in single precision."""
        layer = cast(nn.Conv1d, self.decoder_layers[0])
        logits = F.linear(encoder_out, layer.weight.squeeze(-1), layer.bias).float()  # (B, T, V)
        if (forbidden := bias_of(self.lang_bias, lang_ids)) is not None:
            logits = logits + forbidden.unsqueeze(1)
        return logits.log_softmax(dim=-1)

    forward = log_probs

    def loss(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        tokens: Tensor,
        token_lens: Tensor,
        lang_ids: Tensor | None = None,
        reduction: Reduction = "none",
    ) -> Tensor:
        """Negative log-likelihood in single precision, (B,) or reduced; zero where `infeasible`.

        Args:
            encoder_out: encoder output (B, T, D).
            encoder_out_lens: valid frames (B,).
            tokens: target ids (B, U); padding may hold anything.
            token_lens: tokens of each utterance (B,).
            lang_ids: place of each utterance's language (B,); without them no id is forbidden.
            reduction: see `reduce_loss`.

        Raises:
            ValueError: a token that is no label, or a length beyond its tensor.
        """
        targets = Targets(encoder_out_lens, tokens.long(), token_lens)
        check_targets(targets, encoder_out.size(1), self.blank_id)
        nll = F.ctc_loss(
            self.log_probs(encoder_out, lang_ids).transpose(0, 1),  # (T, B, V)
            targets.cleared().tokens,
            encoder_out_lens,
            token_lens,
            blank=self.blank_id,
            reduction="none",
            zero_infinity=True,
        )
        return reduce_loss(nll, token_lens, reduction)

    def infeasible(self, encoder_out_lens: Tensor, tokens: Tensor, token_lens: Tensor) -> Tensor:
        """Whether an utterance (B,) has too few frames for its tokens: repeats need a blank between them."""
        positions = torch.arange(1, max(tokens.size(1), 1), device=tokens.device)
        repeats = (tokens[:, 1:] == tokens[:, :-1]) & (positions < token_lens.unsqueeze(1))
        return token_lens + repeats.sum(dim=1) > encoder_out_lens

    def decode(
        self, encoder_out: Tensor, encoder_out_lens: Tensor, lang_ids: Tensor | None = None
    ) -> list[list[int]]:
        """The best label of each frame, runs merged, blanks dropped."""
        found = decode(self, encoder_out, encoder_out_lens, lang_ids)
        return [one.tokens for one in found]
