"""SpeechLLM: encoder frames through a projector into an LLM; loss for training, greedy text for use."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from maya_bridge.corruption import Corruption, corrupt_speech
from maya_bridge.llm import LLMConfig, load_llm
from maya_bridge.projectors import ProjectorConfig, ProjectorOutput
from maya_bridge.prompt import Prompt, PromptConfig
from maya_bridge.target_loss import LossParts, make_targets, on_device, target_loss
from maya_bridge.text_side import LLMTokenizer
from maya_bridge.tiny import common_characters, piece_text
from maya_encoder.acoustic_model import AcousticModel
from maya_encoder.audio import Audio, load_audio, pad_waveforms
from maya_encoder.hypothesis import Hypothesis
from maya_encoder.modes import evaluating

DECODES = ("greedy", "ctc", "rnnt", "tdt")


@dataclass(frozen=True)
class EncodedSpeech:
    """What a frozen encoder gives and a cache keeps: frames (B, T, D), lengths, CTC log-probs (B, T, V)."""

    encoder_out: Tensor
    encoder_out_lens: Tensor
    ctc_log_probs: Tensor | None = None


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
        )
        if "units" in projector.needs:
            raise ValueError(
                f"projector {projector_config.name} needs unit states, which SpeechLLM does not compute"
            )
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

    def encode_speech(self, waveforms: Tensor, waveform_lens: Tensor, langs: Sequence[str]) -> EncodedSpeech:
        """Run the acoustic side on waveforms (B, S), as far as the projector needs it."""
        encoder_out, encoder_out_lens = self.acoustic.encode(waveforms, waveform_lens, langs)
        log_probs = None
        if "ctc" in self.projector.needs:
            log_probs = self.acoustic.head("ctc")(encoder_out)
        return EncodedSpeech(encoder_out, encoder_out_lens, log_probs)

    def project(self, speech: EncodedSpeech) -> ProjectorOutput:
        """Run the projector, in its own number format whatever the speech was kept in."""
        own = next(self.projector.parameters(), self.llm.get_input_embeddings().weight)
        dtype = own.dtype
        log_probs = None if speech.ctc_log_probs is None else speech.ctc_log_probs.to(dtype)
        return self.projector(  # type: ignore[no-any-return]
            speech.encoder_out.to(dtype), speech.encoder_out_lens, ctc_log_probs=log_probs
        )

    def loss(
        self,
        speech: EncodedSpeech,
        texts: Sequence[str],
        langs: Sequence[str],
        corruption: Corruption | None = None,
        generator: torch.Generator | None = None,
    ) -> LossParts:
        """Return the summed cross-entropy of text and <eos>, teacher-forced, and the projector's losses."""
        projected = self.project(speech)
        embeds, lens = projected.speech_embeds, projected.speech_embeds_lens
        if corruption is not None:
            embeds, lens = corrupt_speech(embeds, lens, corruption, generator)
        targets = make_targets(self.llm_tokenizer, texts, langs, corruption, generator)
        num_tokens = int(targets.lens.sum()) + len(texts)
        targets = on_device(targets, embeds.device)
        batch = self.prompt.build(self.llm.get_input_embeddings(), embeds, lens, langs, targets)
        self._check_window(batch.labels.shape[1])
        return LossParts(target_loss(self.llm, batch), num_tokens, projected.aux_losses)

    def _check_window(self, size: int) -> None:
        config = self.llm.config
        slides = "sliding_attention" in (getattr(config, "layer_types", None) or ())
        window = config.sliding_window if slides else None
        if window is not None and size > window:
            message = f"a prompt of {size} positions is longer than the LLM's sliding window of {window}"
            warnings.warn(f"{message}: shorten the audio or raise the projector's stride", stacklevel=3)

    @torch.inference_mode()
    def generate(
        self, speech: EncodedSpeech, langs: Sequence[str], max_new_tokens: int | None = None
    ) -> list[str]:
        """Return the greedy text of each utterance; no more tokens than frames, and a few, unless told."""
        from transformers import GenerationConfig

        with evaluating(self):
            projected = self.project(speech)
            embeds, lens = projected.speech_embeds, projected.speech_embeds_lens
            batch = self.prompt.build(self.llm.get_input_embeddings(), embeds, lens, langs)
            limit = int(speech.encoder_out_lens.max()) + 16 if max_new_tokens is None else max_new_tokens
            config = GenerationConfig(  # type: ignore[no-untyped-call]
                do_sample=False,
                max_new_tokens=limit,
                eos_token_id=self.llm_tokenizer.eos_id,
                pad_token_id=self.llm_tokenizer.pad_id,
            )
            ids = self.llm.generate(
                inputs_embeds=batch.inputs_embeds,
                attention_mask=batch.attention_mask,
                position_ids=batch.position_ids,
                generation_config=config,
            )
        return [self.llm_tokenizer.decode(row, lang) for row, lang in zip(ids.tolist(), langs, strict=True)]

    def transcribe(
        self,
        audio: Sequence[Audio],
        langs: str | Sequence[str],
        batch_size: int = 16,
        decode: str = "greedy",
    ) -> list[Hypothesis]:
        """Return a hypothesis for each file or array, in their order.

        Args:
            audio: files, or arrays of the model's sampling rate.
            langs: one language for all, or one each.
            batch_size: utterances decoded together, sorted by length.
            decode: greedy for the LLM; ctc, rnnt or tdt for that head of the acoustic model.
        """
        if decode not in DECODES:
            raise ValueError(f"`decode` must be one of {', '.join(DECODES)}, got {decode}")
        if decode != "greedy":
            return self.acoustic.transcribe(audio, langs=langs, batch_size=batch_size, head=decode)
        audio = [audio] if isinstance(audio, str) else audio
        langs = [langs] * len(audio) if isinstance(langs, str) else list(langs)
        if len(langs) != len(audio):
            raise ValueError(f"`langs` must be one or one for each of {len(audio)}, got {len(langs)}")
        self.acoustic.lang_ids(langs)
        rate = self.acoustic.frontend.sampling_rate
        waveforms = [load_audio(item, rate) for item in audio]
        order = sorted(range(len(audio)), key=lambda index: len(waveforms[index]))
        found: dict[int, Hypothesis] = {}
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            texts = self._transcribe_batch([waveforms[row] for row in rows], [langs[row] for row in rows])
            for row, text in zip(rows, texts, strict=True):
                found[row] = Hypothesis(text, langs[row], "llm", len(waveforms[row]) / rate)
        return [found[row] for row in range(len(audio))]

    @torch.inference_mode()
    def _transcribe_batch(self, waveforms: Sequence[Any], langs: Sequence[str]) -> list[str]:
        device = self.llm.get_input_embeddings().weight.device
        padded, lens = pad_waveforms(waveforms)
        with evaluating(self):
            return self.generate(self.encode_speech(padded.to(device), lens.to(device), langs), langs)


def make_speech_llm(
    acoustic: AcousticModel,
    projector_config: ProjectorConfig,
    llm_config: LLMConfig,
    prompt: PromptConfig | None = None,
) -> SpeechLLM:
    """Load or make the LLM, a tiny one over the alphabet of the acoustic tokenizer, and join all parts."""
    llm, llm_tokenizer = load_llm(llm_config, common_characters(acoustic.tokenizer))
    return SpeechLLM(acoustic, projector_config, llm, llm_tokenizer, prompt)
