"""Beam search: several texts at a time for each prompt, all in one batch; then the joint CTC score."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from maya_bridge.decoding.evidence import CTCEvidence
from maya_bridge.decoding.greedy import Task
from maya_bridge.decoding.rescore import rescored
from maya_bridge.decoding.result import Candidate, Decoded
from maya_bridge.decoding.state import LLMRun
from maya_bridge.prompt import PromptBatch


@dataclass(frozen=True)
class _Text:
    """A text in the making: its tokens, its log-probability, and the row of the run that wrote it."""

    ids: list[int]
    score: float
    place: int


@dataclass
class _Beam:
    """The texts of one prompt."""

    size: int
    passes: int = 1
    ended: list[tuple[_Text, bool]] = field(default_factory=list)
    """With whether the text ended by <eos>."""

    def end(self, text: _Text, finished: bool) -> None:
        self.ended = sorted([*self.ended, (text, finished)], key=lambda one: -one[0].score)[: self.size]

    def hopeless(self, text: _Text) -> bool:
        """Return whether a text cannot come into the list any more: scores only fall."""
        return len(self.ended) == self.size and text.score <= self.ended[-1][0].score


def beam_search(
    run: LLMRun,
    prompt: PromptBatch,
    task: Task,
    beam_size: int,
    evidence: CTCEvidence | None = None,
    ctc_weight: float = 0.0,
) -> list[Decoded]:
    """Return the best text of each prompt with its n-best list.

    Args:
        run: fresh.
        prompt: left-padded.
        task: as for `greedy`.
        beam_size: texts kept; 1 is greedy.
        evidence: of the CTC head for the same utterances.
        ctc_weight: share of the CTC score, 0 to 1.
    """
    beams = [_Beam(beam_size) for _ in task.langs]
    logits = run.prefill(prompt)
    live = [_Text([], 0.0, place) for place in range(len(beams))]
    while True:
        live = _extended(beams, live, run.rows.tolist(), _top(task, logits, run.rows, beam_size), task)
        if not live:
            break
        run.reorder([text.place for text in live])
        logits = run.step(run.rows.new_tensor([text.ids[-1] for text in live]))[:, 0]
        for row in set(run.rows.tolist()):
            beams[row].passes += 1
        live = [replace(text, place=place) for place, text in enumerate(live)]
    return [_decoded(row, beam, task, evidence, ctc_weight) for row, beam in enumerate(beams)]


def _top(task: Task, logits: Tensor, rows: Tensor, beam_size: int) -> list[list[tuple[float, int]]]:
    """The best tokens of each row, one more than fit: <eos> takes no place of those that go on."""
    log_probs = task.permitted(logits, rows).log_softmax(dim=-1)
    gains, ids = log_probs.topk(min(beam_size + 1, log_probs.shape[-1]), dim=-1)
    return [list(zip(*pair, strict=True)) for pair in zip(gains.tolist(), ids.tolist(), strict=True)]


def _extended(
    beams: list[_Beam],
    live: list[_Text],
    rows: list[int],
    top: list[list[tuple[float, int]]],
    task: Task,
) -> list[_Text]:
    """End what ends, and return the best texts that go on: `beam_size` a prompt."""
    longer: dict[int, list[_Text]] = {row: [] for row in range(len(beams))}
    for text, row, tokens in zip(live, rows, top, strict=True):
        longer[row] += [
            _Text([*text.ids, token], text.score + gain, text.place)
            for gain, token in tokens
            if gain > float("-inf")
        ]
    return [text for row, texts in longer.items() for text in _going(beams[row], row, texts, task)]


def _going(beam: _Beam, row: int, texts: list[_Text], task: Task) -> list[_Text]:
    """Of one prompt's texts, those that go on; <eos> must be among the best `size`."""
    texts = sorted(texts, key=lambda one: -one.score)
    eos, going = task.tokenizer.eos_id, []
    for text in texts[: beam.size]:
        if text.ids[-1] == eos:
            beam.end(replace(text, ids=text.ids[:-1]), finished=True)
    for text in [one for one in texts if one.ids[-1] != eos][: beam.size]:
        if task.ends(row, text.ids):
            beam.end(text, finished=False)
        elif not beam.hopeless(text):
            going.append(text)
    return going


def _decoded(row: int, beam: _Beam, task: Task, evidence: CTCEvidence | None, ctc_weight: float) -> Decoded:
    ended = [one for one in beam.ended if one[1]] or beam.ended  # a cut text only where there is no other
    by_text: dict[str, Candidate] = {}
    for text, _ in ended:  # best first, so the likeliest spelling in tokens stays
        written = task.tokenizer.decode(text.ids, task.langs[row])
        by_text.setdefault(written, Candidate(written, text.ids, text.score))
    nbest = rescored(list(by_text.values()), row, evidence, ctc_weight)
    best = nbest[0]
    return Decoded(best.ids, best.text, best.llm_score, beam.passes, finished=ended[0][1], nbest=nbest)
