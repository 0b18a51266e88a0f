"""The transducer head, RNNT or TDT: prediction network, joint network, exact loss, decoding."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maya_encoder.decoding.dispatch import decode
from maya_encoder.heads import Reduction, reduce_loss
from maya_encoder.heads.joint import Joint, LanguageJoint
from maya_encoder.heads.language import LangVocab, bias_of, by_language, places_of, vocabulary_bias
from maya_encoder.heads.prediction import LSTMPrediction, StatelessPrediction
from maya_encoder.heads.targets import Targets, check_targets
from maya_encoder.heads.transducer_loss import nll_of

if TYPE_CHECKING:
    from maya_encoder.heads.rnnt import RNNTConfig


class LanguageView:
    """A head with an output layer for each language, as the head of one of them; its ids are local."""

    def __init__(self, head: "TransducerHead", lang_id: int, ids: Sequence[int]) -> None:
        self.prediction, self.config, self.durations = head.prediction, head.config, head.durations
        self.joint = LanguageJoint(head.joint, lang_id)
        self.blank_id = len(ids)
        self.ids = tuple(ids)
        """The public id of each local one."""


class TransducerHead(nn.Module):
    """`decoder.prediction.*` and `joint.*` of a NeMo checkpoint load as `prediction.*` and `joint.*`."""

    prediction: LSTMPrediction | StatelessPrediction
    lang_bias: Tensor | None
    places: Tensor | None

    def __init__(
        self, config: "RNNTConfig", in_dim: int, vocab_size: int, lang_vocab: LangVocab | None = None
    ) -> None:
        super().__init__()
        if config.lang_outputs and not lang_vocab:
            raise ValueError("`lang_outputs` needs `lang_vocab`, the ids of each language, got none")
        self.config = config
        self.blank_id = vocab_size - 1
        self.durations = config.settings().durations
        if config.prediction == "lstm":
            self.prediction = LSTMPrediction(vocab_size, config.prediction_size, config.num_layers)
        else:
            self.prediction = StatelessPrediction(vocab_size, config.prediction_size, config.context_size)
        bias = vocabulary_bias(vocab_size, lang_vocab)
        self.own_ids = (
            {lang: tuple(ids) for lang, ids in (lang_vocab or {}).items()} if config.lang_outputs else {}
        )
        rows = {lang: len(ids) + 1 + len(self.durations) for lang, ids in self.own_ids.items()}
        self.joint = Joint(in_dim, config, rows or vocab_size + len(self.durations))
        self.register_buffer("lang_bias", None if rows else bias, persistent=False)
        self.register_buffer(
            "places", places_of(vocab_size, self.own_ids) if rows else None, persistent=False
        )

    @property
    def lang_outputs(self) -> bool:
        """Whether each language has its own output layer, with its own blank; see `in_language`."""
        return bool(self.own_ids)

    def in_language(self, lang_id: int) -> LanguageView:
        """This head as the head of one language, by its place among the model's languages."""
        return LanguageView(self, lang_id, list(self.own_ids.values())[lang_id])

    def forbidden(self, lang_ids: Tensor | None = None) -> Tensor | None:
        """What to add to the label logits of each utterance (B, V), if anything."""
        return bias_of(self.lang_bias, lang_ids)

    def loss(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        tokens: Tensor,
        token_lens: Tensor,
        lang_ids: Tensor | None = None,
        reduction: Reduction = "none",
    ) -> Tensor:
        """Negative log-likelihood in single precision, (B,) or reduced; exact.

        FastEmit, TDT's omega and dropout act in training mode only. An utterance that cannot be written, as
        one without frames, has loss 0.

        Args:
            encoder_out: encoder output (B, T, D).
            encoder_out_lens: valid frames (B,).
            tokens: target ids (B, U); padding may hold anything.
            token_lens: tokens of each utterance (B,).
            lang_ids: place of each utterance's language (B,); without them no id is forbidden.
            reduction: see `reduce_loss`.

        Raises:
            ValueError: a token that is no label of the model or, with `lang_outputs`, of its language; a
                length beyond its tensor; no languages where `lang_outputs` needs them.
        """
        targets = Targets(encoder_out_lens, tokens.long(), token_lens)
        check_targets(targets, encoder_out.size(1), self.blank_id)
        if not self.lang_outputs:
            nll = self._nll(encoder_out, targets.cleared(), self.joint.output(), self.forbidden(lang_ids))
        else:
            nll = self._nothing().expand(len(encoder_out))
            for lang_id, rows in by_language(self._needed(lang_ids)):
                own = self._nll(
                    encoder_out[rows], self._local(targets, lang_id, rows), self.joint.output(lang_id)
                )
                nll = nll.index_add(0, rows, own)
        return reduce_loss(nll, token_lens, reduction)

    def _nll(
        self, encoder_out: Tensor, targets: Targets, output: nn.Linear, forbidden: Tensor | None = None
    ) -> Tensor:
        settings = replace(self.config.settings(self.training), forbidden=forbidden)
        states = F.dropout(self.prediction(targets.tokens), settings.dropout)  # (B, U+1, P)
        parts = (self.joint.enc(encoder_out), self.joint.pred(states))
        return nll_of(parts, (output.weight, output.bias), targets, settings).float()

    def _nothing(self) -> Tensor:
        """Zero, with a zero gradient for every output layer: averaging over devices waits for each."""
        layers = self.joint.joint_net[2].parameters()
        return torch.stack([parameter.sum() for parameter in layers]).sum().float() * 0

    def _needed(self, lang_ids: Tensor | None) -> Tensor:
        if lang_ids is None:
            raise ValueError(f"`lang_ids` must be given: each utterance is in one of {list(self.own_ids)}")
        return lang_ids

    def _local(self, targets: Targets, lang_id: int, rows: Tensor) -> Targets:
        """The targets of some utterances, in the ids of their language."""
        assert self.places is not None
        lens, tokens, token_lens = (column[rows] for column in targets.cleared())
        local = Targets(lens, self.places[lang_id][tokens], token_lens).cleared()
        if foreign := tokens[local.tokens < 0].tolist():
            lang = list(self.own_ids)[lang_id]
            raise ValueError(
                f"`tokens` of {lang!r} must be among its own {len(self.own_ids[lang])} ids, got {foreign[0]}"
            )
        return local

    def decode(
        self, encoder_out: Tensor, encoder_out_lens: Tensor, lang_ids: Tensor | None = None
    ) -> list[list[int]]:
        """Greedy labels of each utterance; `lang_ids` as in `loss`."""
        found = decode(self, encoder_out, encoder_out_lens, lang_ids)
        return [one.tokens for one in found]
