"""Encoded speech to text: what the CTC head heard, hotwords and language into the prompt, then the search."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from maya_bridge.decoding import Heard, decode, injected_by
from maya_bridge.decoding.evidence import CTCEvidence
from maya_bridge.decoding.guards import near_hotwords
from maya_bridge.decoding.language import recognise_languages
from maya_bridge.decoding.options import DecodeOptions
from maya_bridge.decoding.result import Decoded
from maya_bridge.prompt import check_window
from maya_encoder.script import LANGS

if TYPE_CHECKING:
    from maya_bridge.speech_llm import EncodedSpeech, SpeechLLM

AUTO = "auto"


def write(model: "SpeechLLM", speech: "EncodedSpeech", heard: Heard, options: DecodeOptions) -> list[Decoded]:
    """Return the text of each utterance of a batch.

    Args:
        model: in evaluation mode.
        speech: of `encode_speech`.
        heard: languages, durations, and what the CTC head says.
        options: of the search; its hotwords are chosen among for each utterance.
    """
    units = model.units(speech, heard.langs)
    projected = model.project(speech, units)
    heard = _with_hotwords(model, heard, options)
    prompt = model.prompt.build(
        model.llm.get_input_embeddings(),
        projected.speech_embeds,
        projected.speech_embeds_lens,
        heard.langs,
        hotwords=heard.hotwords,
    )
    check_window(model.prompt.config, model.llm.config, prompt.ids.shape[1])  # type: ignore[union-attr]
    injected = injected_by(projected.injection, units, model.llm_tokenizer)
    return decode(model.llm, model.llm_tokenizer, prompt, heard, options, injected)


def ctc_evidence(
    model: "SpeechLLM", speech: "EncodedSpeech", langs: Sequence[str]
) -> CTCEvidence | None:
    """Return what the CTC head says about a batch, None where the acoustic model has none."""
    acoustic = model.acoustic
    if "ctc" not in acoustic.heads:
        return None
    log_probs = speech.ctc_log_probs
    if log_probs is None or getattr(acoustic.head("ctc"), "lang_bias", None) is not None:
        log_probs = acoustic.head("ctc")(speech.encoder_out, acoustic.optional_lang_ids(langs))
    return CTCEvidence(log_probs, speech.encoder_out_lens, acoustic.tokenizer, langs)


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
