"""Learning without forgetting: an older model's CTC posteriors, for the languages that it knows.

The older model hears the audio without masks and noise; the younger one, with its masks on, is held to what
it says of every frame. Languages that came later are left out.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maya_data.loading.batch import Batch
from maya_encoder import checkpoint
from maya_encoder.acoustic_model import AcousticModel
from maya_train.errors import ConfigError
from maya_train.more_rows import same_pieces

HEAD = "ctc"


class Teacher(nn.Module):
    """The older model; it is frozen, and no part of what is saved.

    Args:
        model: with a CTC head.
        vocab_size: ids of the younger model's CTC head, the blank counted.
        weight: of the divergence, for whoever adds it to other losses.
        temperature: both sides' log-probabilities are divided by it.
    """

    places: Tensor

    def __init__(self, model: AcousticModel, vocab_size: int, weight: float, temperature: float) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.weight = weight
        self.temperature = temperature
        pieces = torch.arange(model.tokenizer.vocab_size)
        self.register_buffer("places", torch.cat([pieces, torch.tensor([vocab_size - 1])]), persistent=False)

    def forward(self, batch: Batch, log_probs: Tensor, lens: Tensor, token_lens: Tensor) -> Tensor:
        """The divergence from the older model's posteriors: of each utterance the mean of its frames, summed.

        It is multiplied by the utterance's tokens, so that it counts beside losses of tokens.

        Args:
            batch: what was heard.
            log_probs: of the younger model (B, T, V).
            lens: its frames (B,).
            token_lens: tokens of each utterance (B,).
        """
        known = [row for row, lang in enumerate(batch.langs) if lang in self.model.langs]
        if not known:
            return log_probs.new_zeros(())
        rows = torch.tensor(known, device=log_probs.device)
        said, longest = self._posteriors(batch, known), log_probs.shape[1]
        assert said.shape[1] <= longest, "the two encoders must give as many frames"
        own = (log_probs[rows, : said.shape[1]] / self.temperature).log_softmax(-1)[..., self.places]
        frames = F.kl_div(own, said, reduction="none", log_target=True).sum(-1)  # (b, T)
        is_frame = torch.arange(frames.shape[1], device=lens.device) < lens[rows, None]
        mean = (frames * is_frame).sum(1) / lens[rows].clamp(min=1)
        return self.temperature**2 * (mean * token_lens[rows]).sum()

    @torch.no_grad()
    def _posteriors(self, batch: Batch, known: list[int]) -> Tensor:
        """Log-probabilities (b, T, V) of the utterances whose languages it knows."""
        langs = [batch.langs[row] for row in known]
        encoder_out, _ = self.model.encode(batch.waveforms[known], batch.waveform_lens[known], langs)
        log_probs: Tensor = self.model.head(HEAD)(encoder_out)
        return (log_probs / self.temperature).log_softmax(-1)


def make_teacher(folder: Path, pupil: AcousticModel, weight: float, temperature: float) -> Teacher:
    """The older model of a folder, for a younger one.

    Raises:
        ConfigError: it is not there, has no CTC head, other pieces, or another number of frames a second.
    """
    if not folder.is_dir():
        raise ConfigError(f"distill.teacher: {folder}: no such folder")
    model = checkpoint.load(folder)
    if HEAD not in model.heads:
        raise ConfigError(f"distill.teacher: {folder} has no head {HEAD}, whose posteriors are the lesson")
    if not same_pieces(model.tokenizer, pupil.tokenizer):
        raise ConfigError(
            f"distill.teacher: {folder} writes other pieces: its tokenizer's models must be the first ones of"
            " this run's"
        )
    old, new = ((one.frontend.sampling_rate, one.encoder.subsampling_factor) for one in (model, pupil))
    if old != new:
        raise ConfigError(
            f"distill.teacher: {folder} hears {old[0]} Hz with {old[1]} features a frame, this run's model"
            f" {new[0]} Hz with {new[1]}"
        )
    return Teacher(model, pupil.tokenizer.vocab_size + 1, weight, temperature)
