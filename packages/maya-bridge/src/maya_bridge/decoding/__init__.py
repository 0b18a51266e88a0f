"""Prompt to text: the searches, what guards them, and what is told about the result.

`decode` is the one door: it takes an LLM, its tokenizer, a batch of prompts, and what is known of the audio.
The searches stand on `LLMRun`, which keeps the LLM's cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from maya_bridge.decoding.beam import beam_search
from maya_bridge.decoding.evidence import CTCEvidence
from maya_bridge.decoding.greedy import Task, greedy
from maya_bridge.decoding.guards import LoopGuard, cut_loop, doubt_of, leaked
from maya_bridge.decoding.injected import Injected, injected_by
from maya_bridge.decoding.language import recognise_languages
from maya_bridge.decoding.long_audio import Cutting, cut_points
from maya_bridge.decoding.options import DecodeOptions, SpeculativeOptions, without_guards
from maya_bridge.decoding.result import Candidate, Decoded
from maya_bridge.decoding.script_mask import allowed_in_batch, in_script
from maya_bridge.decoding.state import LLMRun, prompt_rows
from maya_bridge.decoding.words import word_times
from maya_bridge.prompt import PromptBatch
from maya_bridge.text_side import LLMTokenizer

__all__ = [
    "CTCEvidence",
    "Candidate",
    "Cutting",
    "DecodeOptions",
    "Decoded",
    "Heard",
    "Injected",
    "LLMRun",
    "SpeculativeOptions",
    "cut_points",
    "decode",
    "injected_by",
    "recognise_languages",
    "without_guards",
]


@dataclass(frozen=True)
class Heard:
    """What is known of a batch of utterances besides the prompts."""

    langs: Sequence[str]
    """Language of each text."""
    durations: Sequence[float]
    """Seconds of audio."""
    evidence: CTCEvidence | None = None
    """Of the CTC head. Without it there are no drafts, no fallback, no words, and guards know less."""
    hotwords: Sequence[Sequence[str]] | None = None
    """What the prompt of each row names."""
    max_tokens: Sequence[int] | None = None
    """Tokens that end each text, in place of what duration and language give."""
    room: int | None = None
    """Tokens that no text may pass, whatever the others say."""

    def part(self, rows: Sequence[int]) -> "Heard":
        """Return what is known of some of the utterances."""
        return Heard(
            [self.langs[row] for row in rows],
            [self.durations[row] for row in rows],
            None if self.evidence is None else self.evidence.part(rows),
            None if self.hotwords is None else [self.hotwords[row] for row in rows],
            None if self.max_tokens is None else [self.max_tokens[row] for row in rows],
            self.room,
        )


@torch.inference_mode()
def decode(
    llm: Any,
    tokenizer: LLMTokenizer,
    prompt: PromptBatch,
    heard: Heard,
    options: DecodeOptions | None = None,
    injected: Injected | None = None,
) -> list[Decoded]:
    """Return the text of each prompt, in order.

    Rows do not see each other: a batch gives what its rows give one by one.

    Args:
        llm: a causal LLM of transformers in eval mode.
        tokenizer: the LLM's.
        prompt: as `Prompt.build` lays it out without targets: left-padded, the language at its end.
        heard: languages, durations, CTC log-probabilities.
        options: how to search; greedy with all guards by default, `without_guards()` for the bare LLM.
        injected: speech inside the LLM, of `injected_by`, where the projector injects it.

    Raises:
        ValueError: a speculative search without evidence, which its drafts come from.
    """
    options = options or DecodeOptions()
    if options.strategy == "speculative" and heard.evidence is None:
        raise ValueError("`strategy` speculative needs a CTC head to draft the text, got none")
    found = {row: Decoded([], "", fallback="silence") for row in _silent(heard, options)}
    rows = [row for row in range(len(heard.langs)) if row not in found]
    if rows:
        if len(rows) < len(heard.langs):
            prompt, heard, injected = (
                prompt_rows(prompt, rows),
                heard.part(rows),
                _injected_part(injected, rows),
            )
        task = _task(llm, tokenizer, heard, options)
        texts = _search(LLMRun(llm, injected), prompt, task, heard, options)
        judged = (_judged(row, one, task, heard, options) for row, one in enumerate(texts))
        found |= zip(rows, judged, strict=True)
    return [found[row] for row in range(len(found))]


def _silent(heard: Heard, options: DecodeOptions) -> list[int]:
    if heard.evidence is None or not options.silence:
        return []
    return [row for row, tokens in enumerate(heard.evidence.tokens) if not tokens]


def _injected_part(injected: Injected | None, rows: Sequence[int]) -> Injected | None:
    if injected is None:
        return None
    chosen, whole = torch.tensor(rows), injected
    injection: Any = injected.injection
    return Injected(
        injection.select(chosen), lambda ids, places: whole.count_units(ids, chosen[places.cpu()])
    )


def _task(llm: Any, tokenizer: LLMTokenizer, heard: Heard, options: DecodeOptions) -> Task:
    texts = None if heard.evidence is None else heard.evidence.texts
    langs = list(heard.langs)
    drafts = [0] * len(langs)
    if texts is not None:
        drafts = [len(tokenizer.encode(text, lang)) for text, lang in zip(texts, langs, strict=True)]
    caps = heard.max_tokens
    if caps is None:
        sizes = zip(heard.durations, langs, drafts, strict=True)
        caps = [options.max_tokens(seconds, lang, tokenizer, size) for seconds, lang, size in sizes]
    if heard.room is not None:
        caps = [min(cap, heard.room) for cap in caps]
    allowed = None
    if options.script == "native":
        allowed = allowed_in_batch(tokenizer, langs, llm.get_output_embeddings().weight.shape[0])
    guard = LoopGuard(tokenizer, langs, texts) if options.loop_guard else None
    return Task(tokenizer, langs, list(caps), allowed, guard)


def _search(
    run: LLMRun, prompt: PromptBatch, task: Task, heard: Heard, options: DecodeOptions
) -> list[Decoded]:
    if options.strategy == "greedy":
        return greedy(run, prompt, task)
    if options.strategy == "beam":
        return beam_search(run, prompt, task, options.beam_size, heard.evidence, options.ctc_weight)
    from maya_bridge.decoding.speculative import speculative

    assert heard.evidence is not None
    entropies = heard.evidence.mean_entropies().tolist()
    return speculative(run, prompt, task, heard.evidence.texts, options.speculative, entropies)


def _judged(row: int, decoded: Decoded, task: Task, heard: Heard, options: DecodeOptions) -> Decoded:
    """Hold the CTC text against an LLM's text, and add the times of its words."""
    lang, evidence = heard.langs[row], heard.evidence
    doubt = _doubt(row, decoded, task, heard, options)
    decoded = replace(decoded, doubt=doubt)
    if doubt == "loop" and evidence is None:
        ids = cut_loop(decoded.ids)
        decoded = replace(decoded, ids=ids, text=task.tokenizer.decode(ids, lang))
    elif doubt in ("loop", "leak") or (doubt and evidence and options.hallucination == "fallback"):
        decoded = decoded.with_text("" if evidence is None else evidence.texts[row], doubt)
    if options.script == "native":
        decoded = replace(decoded, text=in_script(decoded.text, lang))
    if evidence is None or not options.words:
        return decoded
    return replace(decoded, words=word_times(evidence, row, decoded.text, heard.durations[row]))


def _doubt(row: int, decoded: Decoded, task: Task, heard: Heard, options: DecodeOptions) -> str | None:
    ctc_text = None if heard.evidence is None else heard.evidence.texts[row]
    if isinstance(task.guard, LoopGuard) and (
        task.guard.stops(row, decoded.ids) or task.guard.loops(row, decoded.text)
    ):
        return "loop"
    if heard.hotwords is not None and leaked(decoded.text, heard.hotwords[row], ctc_text or ""):
        return "leak"
    if options.hallucination == "off":
        return None
    return doubt_of(decoded, ctc_text, heard.langs[row], options)
