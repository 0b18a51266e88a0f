"""Encoder with CTC and transducer heads: negative log-likelihoods by target token, weighted."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maya_data.batch import Batch
from maya_encoder import checkpoint
from maya_encoder.acoustic_model import AcousticModel
from maya_train.errors import ConfigError
from maya_train.schema import LossConfig
from maya_train.tasks import Moment, TaskLoss, Work, freeze_all_but, pick, touch
from maya_train.tasks.encoder_cache import EncoderCache


class AcousticTask(nn.Module):
    """Trains `encoder`, `ctc` and `rnnt`, or some of them with the rest frozen."""

    def __init__(
        self,
        model: AcousticModel,
        train: Iterable[str],
        loss: LossConfig,
        cache: EncoderCache | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._cache = cache
        self.made_by: dict[str, Any] = {}
        self._modules_by_name = {"encoder": model.encoder, **model.heads}
        self._trained = pick(self._modules_by_name, train, "acoustic")
        self._weights = self._head_weights(loss)
        self._rnnt_from = loss.rnnt_from if "rnnt" in self._weights else 0.0
        freeze_all_but(model, self._trained.values())

    def _head_weights(self, loss: LossConfig) -> dict[str, float]:
        """The heads whose loss changes anything, with their weights."""
        weights = {"ctc": loss.ctc, "rnnt": loss.rnnt}
        for name in self._trained:
            if name != "encoder" and not weights.get(name):
                raise ConfigError(f"`loss.{name}` is 0, but this stage trains {name}; give it a weight")
        used = self._modules_by_name if "encoder" in self._trained else self._trained
        found = {name: weight for name, weight in weights.items() if weight and name in used}
        if not found:
            raise ConfigError("no loss is left: `loss` weighs no head of this model")
        return found

    def trained(self) -> Mapping[str, nn.Module]:
        """The modules that learn."""
        return self._trained

    def begins(self, total: int) -> Mapping[str, int]:
        """The transducer enters at `rnnt_from`."""
        return {name: self._start(name, total) for name in self._trained if name != "encoder"}

    def _start(self, name: str, total: int) -> int:
        return round(self._rnnt_from * total) if name == "rnnt" else 0

    def set_modes(self) -> None:
        """Frozen modules in eval mode; the front end's noise and masks stay on."""
        self.model.train()
        for name, module in self._modules_by_name.items():
            module.train(name in self._trained)

    def prepare(self, batch: Batch) -> Work:
        """Token ids of the texts."""
        tokens, token_lens = self.model.tokenize(batch.texts, batch.langs)
        device = batch.waveforms.device
        targets = (tokens.to(device), token_lens.to(device), self.model.lang_ids(batch.langs).to(device))
        return Work(batch, int(token_lens.sum()), targets)

    def forward(self, work: Work, moment: Moment) -> TaskLoss:
        """Weighted sum of the heads' losses over the batch."""
        batch = work.batch
        encoder_out, lens = self._encode(batch)
        parts: dict[str, Tensor] = {}
        total = encoder_out.new_zeros((), dtype=torch.float32)
        for name, weight in self._weights.items():
            if moment.step < self._start(name, moment.total):
                total = total + touch([self._modules_by_name[name]])
                parts[name] = total.new_zeros(())
                continue
            loss = self._head_loss(name, encoder_out, lens, work)
            total = total + weight * loss
            parts[name] = loss.detach()
        return TaskLoss(total, parts, self._counts(lens, work))

    def _encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if self._cache is not None:
            return self._cache.get(batch.ids, batch.waveforms.device)[:2]
        with torch.set_grad_enabled("encoder" in self._trained):
            encoder_out, lens = self.model.encode(batch.waveforms, batch.waveform_lens, batch.langs)
        return encoder_out, lens

    def _head_loss(self, name: str, encoder_out: Tensor, lens: Tensor, work: Work) -> Tensor:
        tokens, token_lens, lang_ids = work.targets
        loss: Tensor = self._modules_by_name[name].loss(encoder_out, lens, tokens, token_lens, lang_ids)
        return loss.sum()

    def _counts(self, lens: Tensor, work: Work) -> dict[str, Tensor]:
        """Utterances with more labels than frames, whose CTC loss is left out."""
        if "ctc" not in self._weights:
            return {}
        tokens, token_lens, _ = work.targets
        return {"infeasible": self._modules_by_name["ctc"].infeasible(lens, tokens, token_lens).sum()}

    def scored(self, moment: Moment) -> Sequence[str]:
        """The heads whose loss is in."""
        return [name for name in self._weights if moment.step >= self._start(name, moment.total)]

    @torch.inference_mode()
    def transcribe(self, batch: Batch, heads: Sequence[str]) -> dict[str, list[str]]:
        """Greedy text of every head."""
        self.model.eval()
        encoder_out, lens = self.model.encode(batch.waveforms, batch.waveform_lens, batch.langs)
        return {name: self.model.decode(encoder_out, lens, batch.langs, name) for name in heads}

    def save(self, folder: Path) -> None:
        """Write the model's folder."""
        checkpoint.save(self.model, folder, extra_config={"made_by": self.made_by})
