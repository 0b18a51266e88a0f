"""CTC-guided compression: blank frames go, frames of one label are averaged."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maya_bridge.projectors import (
    Lens,
    ProjectorOutput,
    UnitStates,
    check_positive,
    scaled_mlp,
    valid_mask,
)


def label_runs(log_probs: Tensor, lens: Tensor, blank_threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Number the runs of frames that share their best label, without the frames that are mostly blank.

    A dropped frame ends a run, so a repeated label stays two runs. An utterance that would lose all its
    frames keeps the one that is least blank.

    Args:
        log_probs: (B, T, V), blank last.
        lens: (B,) valid frames.
        blank_threshold: frames with P(blank) above it are dropped.

    Returns:
        run (B, T) index of each frame's run inside its utterance, kept (B, T), run_lens (B,).
    """
    valid = valid_mask(lens, log_probs.shape[1])
    blank = log_probs[..., -1].exp()
    kept = valid & (blank <= blank_threshold)
    least_blank = blank.masked_fill(~valid, 2.0).argmin(dim=1, keepdim=True)
    lost = ~kept.any(dim=1, keepdim=True)
    kept = kept | (torch.zeros_like(kept).scatter(1, least_blank, True) & lost & valid)
    best = log_probs.argmax(dim=-1)
    continues = torch.zeros_like(kept)
    continues[:, 1:] = kept[:, 1:] & kept[:, :-1] & (best[:, 1:] == best[:, :-1])
    run = (kept & ~continues).cumsum(dim=1)
    return (run - 1).clamp(min=0), kept, run[:, -1]


def average_runs(frames: Tensor, run: Tensor, kept: Tensor, num_runs: int) -> Tensor:
    """Return the means of `frames` (B, T, D) over their runs: (B, Q, D), zero where a run has no frame."""
    weights = torch.zeros(*run.shape, num_runs, dtype=frames.dtype, device=frames.device)  # (B, T, Q)
    weights.scatter_(2, run[..., None], kept[..., None].to(frames.dtype))
    sums = weights.transpose(1, 2) @ frames.masked_fill(~kept[..., None], 0)  # (B, Q, D)
    return sums / weights.sum(dim=1).clamp(min=1)[..., None]


class CTCCompressor(nn.Module):
    """One speech position a CTC label: the projected mean frame plus the expected embedding of its piece."""

    needs = frozenset({"ctc"})
    exact_lens = False

    def __init__(self, config: "CTCCompress", in_dim: int, out_dim: int, embed_rms: float, num_pieces: int):
        super().__init__()
        self.blank_threshold = config.blank_threshold
        self.mlp = scaled_mlp(in_dim, config.hidden_size or out_dim, out_dim, embed_rms)
        self.table = (
            nn.Parameter(torch.randn(num_pieces, out_dim) * embed_rms) if config.use_posterior else None
        )

    def adopt_pieces(self, piece_embeds: Tensor) -> None:
        """Start the posterior's table from the LLM's scaled embeddings of the CTC pieces (V-1, H)."""
        if self.table is not None:
            with torch.no_grad():
                self.table.copy_(piece_embeds)

    def out_lens(self, lens: Lens) -> Lens:
        """Return an upper bound: every frame its own label."""
        return lens

    def forward(
        self,
        encoder_out: Tensor,
        encoder_out_lens: Tensor,
        ctc_log_probs: Tensor | None = None,
        units: UnitStates | None = None,
    ) -> ProjectorOutput:
        """Compress, then project; needs `ctc_log_probs` (B, T, V)."""
        if ctc_log_probs is None:
            raise ValueError("`ctc_log_probs` must be given to the ctc_compress projector, got None")
        run, kept, run_lens = label_runs(ctc_log_probs.detach(), encoder_out_lens, self.blank_threshold)
        num_runs = max(int(run_lens.max()), 1)
        speech_embeds = self.mlp(average_runs(encoder_out, run, kept, num_runs))  # (B, Q, H)
        if self.table is not None:
            posteriors = ctc_log_probs[..., :-1].exp().to(encoder_out.dtype)
            speech_embeds = speech_embeds + average_runs(posteriors, run, kept, num_runs) @ self.table
        return ProjectorOutput(speech_embeds, run_lens)


@dataclass(kw_only=True)
class CTCCompress:
    """Config of the `ctc_compress` projector."""

    name: str = "ctc_compress"
    """Plugin name."""
    blank_threshold: float = 0.5
    """Frames whose blank probability is above this are dropped."""
    hidden_size: int | None = None
    """Width between the two linear layers; None means the LLM's width."""
    use_posterior: bool = True
    """Add the CTC posterior times a table of piece embeddings."""

    def __post_init__(self) -> None:
        check_positive(hidden_size=self.hidden_size)
        if not 0 < self.blank_threshold <= 1:
            raise ValueError(f"`blank_threshold` must be above 0 and at most 1, got {self.blank_threshold}")

    def build(
        self,
        in_dim: int,
        out_dim: int,
        embed_rms: float,
        vocab_size: int | None = None,
        state_dim: int | None = None,
    ) -> CTCCompressor:
        """Return the module."""
        if vocab_size is None:
            raise ValueError("the ctc_compress projector needs an acoustic model with a CTC head, got none")
        return CTCCompressor(self, in_dim, out_dim, embed_rms, vocab_size - 1)
