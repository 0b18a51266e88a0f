"""Speech to text through the LLM: cross-entropy by text token, over live audio or kept encoder outputs."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maya_bridge import checkpoint
from maya_bridge.adapters import trainable_part
from maya_bridge.corruption import Corruption
from maya_bridge.special_rows import rows_of
from maya_bridge.speech_llm import EncodedSpeech, SpeechLLM
from maya_data.loading.batch import Batch
from maya_train.tasks import Moment, TaskLoss, Work, freeze_all_but, pick
from maya_train.tasks.encoder_cache import EncoderCache
from maya_train.tasks.encoder_part import folded, set_part_mode


class SpeechLLMTask(nn.Module):
    """Trains `projector`, `llm` and, where asked, `encoder` and the head `ctc`.

    Args:
        model: what learns.
        train: names of the modules.
        corruption: noise on the LLM's input.
        cache: kept outputs of a frozen encoder.
        part: what learns in the encoder's place, see `encoder_part`; None for all of it.
        ctc_weight: share of a token's loss that a CTC token's loss is added with.
    """

    def __init__(
        self,
        model: SpeechLLM,
        train: Iterable[str],
        corruption: Corruption | None = None,
        cache: EncoderCache | None = None,
        part: nn.Module | None = None,
        ctc_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        heads = {"ctc": model.acoustic.heads["ctc"]} if "ctc" in model.acoustic.heads else {}
        encoder: nn.Module = model.acoustic.encoder
        modules = {"encoder": encoder, **heads, "projector": model.projector, "llm": model.llm}
        self._modules_by_name = modules
        self._trained = pick(modules, train, "speech_llm")
        self._part = (part,)  # a tuple, as its modules have their place in the encoder already
        self._ctc_weight = ctc_weight
        if part is not None and "encoder" in self._trained:
            self._trained["encoder"] = part
        if "llm" in self._trained:  # LoRA where the LLM has it, else all of it
            self._trained["llm"] = trainable_part(model.llm)
        elif "projector" in self._trained and (rows := rows_of(model.llm)) is not None:
            self._trained["projector"] = nn.ModuleList([model.projector, rows])
        self._corruption = corruption
        self._cache = cache
        self.made_by: dict[str, Any] = {}
        freeze_all_but(model, self._trained.values())

    def trained(self) -> Mapping[str, nn.Module]:
        """The modules that learn."""
        return self._trained

    def begins(self, total: int) -> Mapping[str, int]:
        """Every loss is there from the first step."""
        return {}

    def set_modes(self) -> None:
        """Frozen modules in eval mode; the front end's noise and masks stay on, unless outputs are kept."""
        self.model.train()
        self.model.acoustic.train(self._cache is None)
        for head in self.model.acoustic.heads.values():
            head.eval()
        for name, module in self._modules_by_name.items():
            module.train(name in self._trained)
        set_part_mode(self.model.acoustic.encoder, *self._part)

    def prepare(self, batch: Batch) -> Work:
        """The number of text tokens, each text's end counted."""
        _, lens = self.model.llm_tokenizer.encode_batch(batch.texts, batch.langs)
        return Work(batch, int(lens.sum()) + len(batch.texts))

    def forward(self, work: Work, moment: Moment) -> TaskLoss:
        """The loss over the batch's text; a projector's own loss, a mean, weighs as much as a token's."""
        batch = work.batch
        speech = self._encode(batch)
        parts = self.model.loss(
            speech, batch.texts, batch.langs, self._corruption, ctc_weight=self._ctc_weight
        )
        assert parts.num_tokens == work.num_tokens
        aux = {name: value * work.num_tokens for name, value in parts.aux.items()}
        total = parts.loss_sum + sum(aux.values())
        return TaskLoss(total, {name: value.detach() for name, value in aux.items()}, {})

    def _encode(self, batch: Batch) -> EncodedSpeech:
        if self._cache is not None:
            return EncodedSpeech(*self._cache.get(batch.ids, batch.waveforms.device))
        with torch.set_grad_enabled("encoder" in self._trained):
            return self.model.encode_speech(batch.waveforms, batch.waveform_lens, batch.langs)

    def scored(self, moment: Moment) -> Sequence[str]:
        """The LLM, and CTC where it or the encoder under it changes."""
        ctc = not {"encoder", "ctc"}.isdisjoint(self._trained) and "ctc" in self.model.acoustic.heads
        return ["ctc", "llm"] if ctc else ["llm"]

    @torch.inference_mode()
    def transcribe(self, batch: Batch, heads: Sequence[str]) -> dict[str, list[str]]:
        """Greedy text of the LLM, and of the heads below it."""
        self.model.eval()
        speech = self.model.encode_speech(batch.waveforms, batch.waveform_lens, batch.langs)
        found = {}
        for name in heads:
            if name == "llm":
                found[name] = self.model.generate(speech, batch.langs)
            else:
                encoded = speech.encoder_out, speech.encoder_out_lens
                found[name] = self.model.acoustic.decode(*encoded, batch.langs, name)
        return found

    def save(self, folder: Path) -> None:
        """Write the model's folder."""
        with folded(self.model.acoustic.encoder):
            checkpoint.save(self.model, folder, extra_config={"made_by": self.made_by})
