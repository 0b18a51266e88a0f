"""Encoded speech to text: what the CTC head heard, hotwords and language into the prompt, then the search."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from maya_bridge.decoding import Heard, decode, injected_by
from maya_bridge.decoding.evidence import CTCEvidence
from maya_bridge.decoding.guards import doubt_of, near_hotwords
from maya_bridge.decoding.language import recognise_languages
from maya_bridge.decoding.options import DecodeOptions
from maya_bridge.decoding.result import Decoded
from maya_bridge.decoding.words import word_times
from maya_bridge.projectors import ProjectorOutput, UnitStates, valid_mask
from maya_bridge.prompt import check_window, sliding_window
from maya_encoder.script import LANGS

if TYPE_CHECKING:
    from maya_bridge.speech_llm import EncodedSpeech, SpeechLLM

AUTO = "auto"
SURE = 0.7
"""Mean probability of the labels on the CTC path from which its text is better than a doubtful one.

Trained heads have 0.8 and more, heads that have only begun to learn 0.4 to 0.6.
"""


def write(model: "SpeechLLM", speech: "EncodedSpeech", heard: Heard, options: DecodeOptions) -> list[Decoded]:
    """Return the text of each utterance of a batch.

    Where the CTC head is not sure of its text, that is no draft, no judge and no fallback.

    Args:
        model: in evaluation mode.
        speech: of `encode_speech`.
        heard: languages, durations, and what the CTC head says.
        options: of the search; its hotwords are chosen among for each utterance.
    """
    units = model.units(speech, heard.langs)
    projected = model.project(speech, units)
    heard = _with_hotwords(model, heard, options)
    guarded = options.loop_guard or options.hallucination != "off"
    unsure = _unsure(heard.evidence) if guarded and heard.evidence is not None else []
    sure = [row for row in range(len(heard.langs)) if row not in unsure]
    found = dict(zip(sure, _searched(model, projected, units, sure, heard.part(sure), options), strict=True))
    if unsure:
        told = replace(options, strategy="greedy") if options.strategy == "speculative" else options
        alone = replace(heard.part(unsure), evidence=None)
        texts = _searched(model, projected, units, unsure, alone, told)
        found |= {row: _told(row, one, heard, options) for row, one in zip(unsure, texts, strict=True)}
    return [found[row] for row in range(len(heard.langs))]


def _searched(
    model: "SpeechLLM",
    projected: ProjectorOutput,
    units: UnitStates | None,
    rows: list[int],
    heard: Heard,
    options: DecodeOptions,
) -> list[Decoded]:
    """The texts of some rows of a batch; `heard` is of these rows alone."""
    if not rows:
        return []
    chosen = torch.tensor(rows, device=projected.speech_embeds_lens.device)
    lens = projected.speech_embeds_lens[chosen]
    embeds = projected.speech_embeds[chosen, : int(lens.max())]
    embed = model.llm.get_input_embeddings()
    prompt = model.prompt.build(embed, embeds, lens, heard.langs, hotwords=heard.hotwords)
    size = prompt.inputs_embeds.shape[1]
    check_window(model.prompt.config, model.llm.config, size)
    window = sliding_window(model.llm.config)
    if window is not None and model.prompt.config.window == "refuse":
        heard = replace(heard, room=window - size + 1)  # nothing comes behind the last one
    injection: Any = projected.injection
    injected = None
    if injection is not None and units is not None:
        own = UnitStates(units.states[chosen], units.unit_lens[chosen], units.char_ends[chosen])
        injected = injected_by(injection.select(chosen), own, model.llm_tokenizer)
    return decode(model.llm, model.llm_tokenizer, prompt, heard, options, injected)


def _unsure(evidence: CTCEvidence) -> list[int]:
    return [row for row, confidence in enumerate(label_confidences(evidence)) if confidence < SURE]


def _told(row: int, decoded: Decoded, heard: Heard, options: DecodeOptions) -> Decoded:
    """Tell of a text what the CTC head, though not sure, has against it and where its words are."""
    evidence = heard.evidence
    assert evidence is not None
    doubt = decoded.doubt
    if doubt is None and options.hallucination != "off":
        doubt = doubt_of(decoded, evidence.texts[row], heard.langs[row], options)
    decoded = replace(decoded, doubt=doubt)
    if not options.words:
        return decoded
    return replace(decoded, words=word_times(evidence, row, decoded.text, heard.durations[row]))


def label_confidences(evidence: CTCEvidence) -> list[float]:
    """Return the mean probability of the labels on each best CTC path, 1 for one of blanks alone."""
    probabilities, best = evidence.log_probs.float().exp().max(dim=-1)  # (B, T)
    labels = valid_mask(evidence.lens, best.shape[1]) & (best != evidence.log_probs.shape[-1] - 1)
    counts = labels.sum(dim=1)
    means = (probabilities * labels).sum(dim=1) / counts.clamp(min=1)
    return means.masked_fill(counts == 0, 1.0).tolist()


def ctc_evidence(model: "SpeechLLM", speech: "EncodedSpeech", langs: Sequence[str]) -> CTCEvidence | None:
    """Return what the CTC head says about a batch, None where the acoustic model has none."""
    acoustic = model.acoustic
    if "ctc" not in acoustic.heads:
        return None
    log_probs = speech.ctc_log_probs
    if log_probs is None or getattr(acoustic.head("ctc"), "lang_bias", None) is not None:
        log_probs = acoustic.head("ctc")(speech.encoder_out, acoustic.optional_lang_ids(langs))
    # alignment, rescoring and the rest are loops over few numbers, which a GPU would only slow down
    return CTCEvidence(log_probs.float().cpu(), speech.encoder_out_lens.cpu(), acoustic.tokenizer, langs)


def name_languages(model: "SpeechLLM", speech: "EncodedSpeech") -> list[tuple[str, float]]:
    """Return the likeliest language of each utterance and its probability, as the LLM says.

    Raises:
        ValueError: the LLM never learnt to name languages.
    """
    check_names_languages(model)
    units = model.units(speech, None)
    projected = model.project(speech, units)
    embed = model.llm.get_input_embeddings()
    prompt = model.prompt.build(embed, projected.speech_embeds, projected.speech_embeds_lens, None)
    injected = injected_by(projected.injection, units, model.llm_tokenizer)
    return recognise_languages(model.llm, model.llm_tokenizer, prompt, known_languages(model), injected)


def check_names_languages(model: "SpeechLLM") -> None:
    """Refuse to ask an LLM for the language that never learnt to name it."""
    if not model.prompt.config.lid_prob:
        raise ValueError(
            f"`langs` must name a language of {', '.join(known_languages(model))}: this LLM did not learn to "
            "tell them (its prompt's `lid_prob` is 0), got auto"
        )


def known_languages(model: "SpeechLLM") -> list[str]:
    """Return the languages that both halves of the model know."""
    return [lang for lang in model.acoustic.langs or LANGS if lang in LANGS]


def _with_hotwords(model: "SpeechLLM", heard: Heard, options: DecodeOptions) -> Heard:
    """Choose for each utterance the hotwords that its CTC text resembles; all where there is no CTC text."""
    if not options.hotwords:
        return heard
    if not model.llm_tokenizer.takes_hotwords:
        model.llm_tokenizer.context_id("<|ctx|>")  # which says so
    if heard.evidence is None:
        return replace(heard, hotwords=[list(options.hotwords[: options.max_hotwords])] * len(heard.langs))
    chosen = [near_hotwords(options.hotwords, text, options.max_hotwords) for text in heard.evidence.texts]
    return replace(heard, hotwords=chosen)
