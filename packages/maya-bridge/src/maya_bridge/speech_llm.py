"""SpeechLLM: encoder frames through a projector into an LLM; loss for training, text for use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from maya_bridge.acoustic_units import acoustic_units, state_dim
from maya_bridge.corruption import Corruption, corrupt_speech
from maya_bridge.injection_hooks import injected
from maya_bridge.llm import LLMConfig, load_llm
from maya_bridge.projectors import ProjectorConfig, ProjectorOutput, UnitStates
from maya_bridge.prompt import Prompt, PromptBatch, PromptConfig, check_window
from maya_bridge.target_loss import LossParts, make_targets, on_device, target_loss
from maya_bridge.text_side import LLMTokenizer
from maya_bridge.tiny import common_characters, piece_text
from maya_bridge.unit_index import Progress
from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.audio import Audio
from maya_encoder.modes import evaluating

if TYPE_CHECKING:
    from maya_bridge.decoding.long_audio import Cutting
    from maya_bridge.decoding.options import DecodeOptions
    from maya_bridge.hypothesis import SpeechHypothesis
    from maya_encoder.hypothesis import Hypothesis


@dataclass(frozen=True)
class EncodedSpeech:
    """What a frozen encoder gives and a cache keeps: frames (B, T, D), lengths, CTC log-probs (B, T, V).

    `units` are the acoustic model's states by prefix of its text; who needs them computes them where they are
    not given.
    """

    encoder_out: Tensor
    encoder_out_lens: Tensor
    ctc_log_probs: Tensor | None = None
    units: UnitStates | None = None


class SpeechLLM(nn.Module):
    """An acoustic model, a projector and an LLM with one prompt."""

    def __init__(
        self,
        acoustic: AcousticModel,
        projector_config: ProjectorConfig,
        llm: Any,
        llm_tokenizer: LLMTokenizer,
        prompt: PromptConfig | None = None,
    ):
        super().__init__()
        self.acoustic = acoustic
        self.llm = llm
        self.llm_tokenizer = llm_tokenizer
        self.projector_config = projector_config
        self.prompt = Prompt(prompt or PromptConfig(), llm_tokenizer)
        has_ctc = "ctc" in acoustic.config.heads
        embeds = self._embed(llm_tokenizer.text_ids[:4096])
        projector: Any = projector_config.build(
            in_dim=acoustic.encoder.hidden_size,
            out_dim=embeds.shape[1],
            embed_rms=float(embeds.square().mean().sqrt()),
            vocab_size=acoustic.tokenizer.vocab_size + 1 if has_ctc else None,
            state_dim=state_dim(acoustic, projector_config),
        )
        if unknown := sorted(set(projector.needs) - {"ctc", "units"}):
            raise ValueError(
                f"projector {projector_config.name} must need ctc, units or nothing, got {unknown[0]}"
            )
        if hasattr(projector, "adopt_layers"):
            projector.adopt_layers(llm.config.num_hidden_layers)
        self.projector: Any = projector
        self.adopt_pieces()

    @torch.no_grad()
    def _embed(self, ids: Tensor) -> Tensor:
        embed = self.llm.get_input_embeddings()
        return embed(ids.to(embed.weight.device)).float()  # type: ignore[no-any-return]

    def adopt_pieces(self) -> None:
        """Give the projector the LLM's embedding of each CTC piece, if it asks for them.

        Runs at construction; run it again if the LLM changed before the projector is trained.
        """
        if not hasattr(self.projector, "adopt_pieces"):
            return
        tokenizer, pieces = self.acoustic.tokenizer, []
        for index in range(tokenizer.vocab_size):
            ids = self.llm_tokenizer.encode_piece(piece_text(tokenizer, index, self.llm_tokenizer.script))
            pieces.append(ids or [self.llm_tokenizer.pad_id])
        self.projector.adopt_pieces(torch.stack([self._embed(torch.tensor(ids)).mean(0) for ids in pieces]))

    @property
    def device(self) -> torch.device:
        """Where the LLM is, and all the rest with it."""
        return self.llm.get_input_embeddings().weight.device  # type: ignore[no-any-return]

    def encode_speech(
        self, waveforms: Tensor, waveform_lens: Tensor, langs: Sequence[str] | None
    ) -> EncodedSpeech:
        """Run the acoustic side on waveforms (B, S), as far as the projector needs it."""
        encoder_out, encoder_out_lens = self.acoustic.encode(waveforms, waveform_lens, langs)
        log_probs = None
        if "ctc" in self.projector.needs:
            log_probs = self.acoustic.head("ctc")(encoder_out)
        return EncodedSpeech(encoder_out, encoder_out_lens, log_probs)

    def units(
        self, speech: EncodedSpeech, langs: Sequence[str] | None, texts: Sequence[str] | None = None
    ) -> UnitStates | None:
        """Return the acoustic model's states by prefix of its text, None where the projector needs none.

        They follow `texts` where those are given and the projector may see them, else what the head hears.
        """
        if speech.units is not None or "units" not in self.projector.needs:
            return speech.units
        shown = texts if getattr(self.projector, "teacher_forced", True) else None
        encoded = speech.encoder_out, speech.encoder_out_lens
        return acoustic_units(self.acoustic, self.projector_config, encoded, langs, shown)

    def project(self, speech: EncodedSpeech, units: UnitStates | None = None) -> ProjectorOutput:
        """Run the projector, in its own number format whatever the speech was kept in."""
        self._check_width("frames", self.acoustic.encoder.hidden_size, speech.encoder_out)
        own = next(self.projector.parameters(), self.llm.get_input_embeddings().weight)
        dtype = own.dtype
        log_probs = None if speech.ctc_log_probs is None else speech.ctc_log_probs.to(dtype)
        given = {} if units is None else {"units": units}
        projected: ProjectorOutput = self.projector(
            speech.encoder_out.to(dtype), speech.encoder_out_lens, ctc_log_probs=log_probs, **given
        )
        width = self.llm.get_input_embeddings().weight.shape[1]
        self._check_width("speech positions", width, projected.speech_embeds)
        return projected

    def _check_width(self, what: str, wanted: int, found: Tensor) -> None:
        if found.shape[-1] != wanted:
            raise ValueError(
                f"{what} of projector {self.projector_config.name} must be {wanted} wide, "
                f"got {found.shape[-1]}"
            )

    def loss(
        self,
        speech: EncodedSpeech,
        texts: Sequence[str],
        langs: Sequence[str],
        corruption: Corruption | None = None,
        generator: torch.Generator | None = None,
        *,
        hotwords: Sequence[Sequence[str]] | None = None,
        ctc_weight: float = 0.0,
    ) -> LossParts:
        """Return the summed cross-entropy of text and <eos>, teacher-forced, and the other losses.

        Args:
            speech: of `encode_speech`, or out of a cache.
            texts: what was said, in native script.
            langs: language of each utterance.
            corruption: noise.
            generator: draws noise, and rows that learn to name the language.
            hotwords: that the prompt of each row names; none by default.
            ctc_weight: share of a token's loss that a CTC token's loss is added with, as `ctc` in `aux`.
        """
        units = self.units(speech, langs, texts)
        projected = self.project(speech, units)
        embeds, lens = projected.speech_embeds, projected.speech_embeds_lens
        if corruption is not None:
            embeds, lens = corrupt_speech(embeds, lens, corruption, generator)
        targets = make_targets(self.llm_tokenizer, texts, langs, corruption, generator)
        num_tokens = int(targets.lens.sum()) + len(texts)
        targets = on_device(targets, embeds.device)
        embed = self.llm.get_input_embeddings()
        batch = self.prompt.build(embed, embeds, lens, langs, targets, hotwords=hotwords, generator=generator)
        check_window(self.prompt.config, self.llm.config, batch.labels.shape[1])
        with injected(self.llm, projected.injection, self._unit_index(batch, projected, units)):
            loss_sum = target_loss(self.llm, batch)
        aux = dict(projected.aux_losses)
        if ctc_weight:
            aux["ctc"] = ctc_weight * self._ctc_loss(speech, texts, langs)
        return LossParts(loss_sum, num_tokens, aux)

    def _unit_index(
        self, batch: PromptBatch, projected: ProjectorOutput, units: UnitStates | None
    ) -> Tensor | None:
        if units is None or batch.ids is None or projected.injection is None:
            return None
        progress = Progress(projected.injection, self.llm_tokenizer)
        return progress(batch.ids, units.char_ends, units.unit_lens)

    def _ctc_loss(self, speech: EncodedSpeech, texts: Sequence[str], langs: Sequence[str]) -> Tensor:
        """Mean loss of a token of the CTC head."""
        head, encoder_out = self.acoustic.head("ctc"), speech.encoder_out
        tokens, lens = self.acoustic.tokenize(texts, langs)
        targets = (tokens, lens, self.acoustic.optional_lang_ids(langs))
        encoder_out = encoder_out.to(next(head.parameters()).dtype)
        return head.loss(encoder_out, speech.encoder_out_lens, *targets).sum() / lens.sum().clamp(min=1)  # type: ignore[no-any-return]

    @torch.inference_mode()
    def generate(
        self, speech: EncodedSpeech, langs: Sequence[str], max_new_tokens: int | None = None
    ) -> list[str]:
        """Return the bare greedy text of each utterance, without guards.

        It has no more tokens than frames, and a few, unless told.
        """
        from maya_bridge.decoding import Heard, without_guards
        from maya_bridge.writing import write

        limit = int(speech.encoder_out_lens.max()) + 16 if max_new_tokens is None else max_new_tokens
        with evaluating(self):
            found = write(
                self,
                speech,
                Heard(langs, [0.0] * len(langs), max_tokens=[limit] * len(langs)),
                without_guards(),
            )
        return [one.text for one in found]

    def transcribe(
        self,
        audio: Audio | Sequence[Audio],
        langs: str | Sequence[str],
        batch_size: int = 16,
        decode: str | None = None,
        options: "DecodeOptions | None" = None,
        cutting: "Cutting | None" = None,
    ) -> "list[SpeechHypothesis] | list[Hypothesis]":
        """Return a hypothesis for each file or array, in their order, with times and confidence of its words.

        Args:
            audio: files, or arrays of the model's sampling rate.
            langs: one language for all, or one each; `auto` lets the LLM name it.
            batch_size: utterances, or pieces of long ones, decoded together, sorted by length.
            decode: greedy, beam or speculative for the LLM; ctc, rnnt or tdt for that head of the acoustic
                model. In place of the options' `strategy`.
            options: how the LLM's text is searched for and what is held against it.
            cutting: how long audio is cut into pieces; None for 30 s at most.

        Raises:
            BadAudio: an item that is no audio.
            ValueError: a language, way of decoding or option that is unknown, or that the model cannot serve.
        """
        from maya_bridge.transcription import Request, transcribe

        return transcribe(self, audio, Request(langs, batch_size, decode, options, cutting))


def make_speech_llm(
    acoustic: AcousticModel,
    projector_config: ProjectorConfig,
    llm_config: LLMConfig,
    prompt: PromptConfig | None = None,
) -> SpeechLLM:
    """Load or make the LLM, a tiny one over the alphabet of the acoustic tokenizer, and join all parts."""
    llm, llm_tokenizer = load_llm(llm_config, common_characters(acoustic.tokenizer))
    return SpeechLLM(acoustic, projector_config, llm, llm_tokenizer, prompt)
