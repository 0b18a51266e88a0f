"""Joint score of an n-best list: the LLM's log-probability and that of the CTC head for the same text."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn import functional as F

from maya_bridge.decoding.evidence import CTCEvidence
from maya_bridge.decoding.result import Candidate

IMPOSSIBLE = -1e4
"""Score of a text with more tokens than the audio has frames."""


@torch.no_grad()
def ctc_scores(evidence: CTCEvidence, row: int, texts: Sequence[str]) -> list[float]:
    """Return the log-probability, summed over all paths, that the CTC head gives to each text.

    Args:
        evidence: of the batch.
        row: utterance.
        texts: in native script, of any length.
    """
    if not texts:
        return []
    tokens = [evidence.encode(text, evidence.langs[row]) for text in texts]
    frames = int(evidence.lens[row])
    log_probs = evidence.log_probs[row, :frames].float()  # (T, V)
    if not frames:
        return [IMPOSSIBLE if ids else 0.0 for ids in tokens]
    losses = F.ctc_loss(
        log_probs[:, None].expand(-1, len(texts), -1),
        torch.tensor([i for ids in tokens for i in ids], dtype=torch.long, device=log_probs.device),
        torch.full((len(texts),), frames),
        torch.tensor([len(ids) for ids in tokens]),
        blank=log_probs.shape[-1] - 1,
        reduction="none",
    )
    return (-losses).clamp(min=IMPOSSIBLE).tolist()


def rescored(
    candidates: Sequence[Candidate], row: int, evidence: CTCEvidence | None, ctc_weight: float
) -> list[Candidate]:
    """Return the candidates with their joint scores `(1 - a) LLM + a CTC`, best first; of equals the LLM's.

    Without evidence the joint score is the LLM's.
    """
    if evidence is None or not ctc_weight:
        scored = [replace(one, score=one.llm_score) for one in candidates]
    else:
        of_ctc = ctc_scores(evidence, row, [one.text for one in candidates])
        scored = [
            replace(one, ctc_score=ctc, score=(1 - ctc_weight) * one.llm_score + ctc_weight * ctc)
            for one, ctc in zip(candidates, of_ctc, strict=True)
        ]
    return sorted(scored, key=lambda one: (-one.score, -one.llm_score))
