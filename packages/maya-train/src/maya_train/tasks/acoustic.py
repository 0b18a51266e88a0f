"""Encoder with its heads, CTC or transducers: negative log-likelihoods by target token, weighted."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maya_data.loading.batch import Batch
from maya_encoder import checkpoint
from maya_encoder.acoustic_model import AcousticModel
from maya_train.errors import ConfigError
from maya_train.module_names import LANGUAGE_PROMPT, HeadLoss, head_losses
from maya_train.tasks import Moment, TaskLoss, Work, by_lang, freeze_all_but, pick, touch
from maya_train.tasks.distillation import Teacher
from maya_train.tasks.encoder_cache import EncoderCache
from maya_train.tasks.encoder_part import folded, set_part_mode


class AcousticTask(nn.Module):
    """Trains the encoder, its language prompt and the heads, or some of them with the rest frozen.

    Args:
        model: what learns.
        train: `encoder`, `language_prompt` and names of heads.
        loss: the weight of each head's loss by its name, and `<head>_from`; see `head_losses`.
        cache: kept outputs of a frozen encoder.
        part: what learns in the encoder's place, see `encoder_part`; None for all of it.
        teacher: an older model that is learnt from too.
    """

    def __init__(
        self,
        model: AcousticModel,
        train: Iterable[str],
        loss: Mapping[str, float],
        cache: EncoderCache | None = None,
        part: nn.Module | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.teacher = teacher
        self._cache = cache
        self._part = (part,)  # a tuple, as its modules have their place in the encoder already
        self.made_by: dict[str, Any] = {}
        prompt = {} if model.prompt is None else {LANGUAGE_PROMPT: model.prompt}
        self._modules_by_name: dict[str, nn.Module] = {"encoder": model.encoder, **prompt, **model.heads}
        self._trained = pick(self._modules_by_name, train, "acoustic")
        self._trains_frames = not {"encoder", LANGUAGE_PROMPT}.isdisjoint(self._trained)
        self._losses = self._used(head_losses(loss, model.heads.keys(), self._trained))
        if part is not None and "encoder" in self._trained:
            self._trained["encoder"] = part
        freeze_all_but(model, self._trained.values())
        if teacher is not None:
            teacher.requires_grad_(False)

    def _used(self, losses: Mapping[str, HeadLoss]) -> dict[str, HeadLoss]:
        """The heads whose loss changes anything."""
        used = self.model.heads if self._trains_frames else self._trained
        found = {name: loss for name, loss in losses.items() if loss.weight and name in used}
        if not found:
            raise ConfigError("no loss is left: `loss` weighs no head of this model")
        return found

    def trained(self) -> Mapping[str, nn.Module]:
        """The modules that learn."""
        return self._trained

    def begins(self, total: int) -> Mapping[str, int]:
        """A head enters with its loss."""
        return {name: loss.first_step(total) for name, loss in self._losses.items() if name in self._trained}

    def set_modes(self) -> None:
        """Frozen modules in eval mode; the front end's noise and masks stay on."""
        self.model.train()
        for name, module in self._modules_by_name.items():
            module.train(name in self._trained)
        set_part_mode(self.model.encoder, *self._part)
        if self.teacher is not None:
            self.teacher.eval()

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
        counts = self._counts(lens, work) | by_lang("tokens", work.targets[1], work, self.model.langs)
        total = encoder_out.new_zeros((), dtype=torch.float32)
        for name, (weight, _) in self._losses.items():
            if name not in self.scored(moment):
                total = total + touch([self._modules_by_name[name]])
                parts[name] = total.new_zeros(())
                counts |= by_lang(name, work.targets[1] * 0, work, self.model.langs)
                continue
            losses = self._head_losses(name, encoder_out, lens, work)
            loss = losses.sum()
            total = total + weight * loss
            parts[name] = loss.detach()
            counts |= by_lang(name, losses.detach(), work, self.model.langs)
        if self.teacher is not None:
            lesson = self.teacher(batch, self.model.head("ctc")(encoder_out), lens, work.targets[1])
            total = total + self.teacher.weight * lesson
            parts["distill"] = lesson.detach()
        return TaskLoss(total, parts, counts)

    def _encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        if self._cache is not None:
            return self._cache.get(batch.ids, batch.waveforms.device)[:2]
        with torch.set_grad_enabled(self._trains_frames):
            encoder_out, lens = self.model.encode(batch.waveforms, batch.waveform_lens, batch.langs)
        return encoder_out, lens

    def _head_losses(self, name: str, encoder_out: Tensor, lens: Tensor, work: Work) -> Tensor:
        """The loss of each utterance (B,)."""
        tokens, token_lens, lang_ids = work.targets
        losses: Tensor = self.model.head(name).loss(encoder_out, lens, tokens, token_lens, lang_ids)
        return losses

    def _counts(self, lens: Tensor, work: Work) -> dict[str, Tensor]:
        """Utterances with more labels than frames, whose CTC loss is left out."""
        tokens, token_lens, _ = work.targets
        for head in map(self.model.head, self._losses):
            if hasattr(head, "infeasible"):
                return {"infeasible": head.infeasible(lens, tokens, token_lens).sum()}
        return {}

    def scored(self, moment: Moment) -> Sequence[str]:
        """The heads whose loss is in."""
        return [name for name, loss in self._losses.items() if moment.step >= loss.first_step(moment.total)]

    @torch.inference_mode()
    def transcribe(self, batch: Batch, heads: Sequence[str]) -> dict[str, list[str]]:
        """Greedy text of every head."""
        self.model.eval()
        encoder_out, lens = self.model.encode(batch.waveforms, batch.waveform_lens, batch.langs)
        return {name: self.model.decode(encoder_out, lens, batch.langs, name) for name in heads}

    def save(self, folder: Path) -> None:
        """Write the model's folder."""
        with folded(self.model.encoder):
            checkpoint.save(self.model, folder, extra_config={"made_by": self.made_by})
