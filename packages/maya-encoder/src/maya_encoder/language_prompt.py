"""A prompt for the language: its one-hot vector joins every frame, and a small network mixes it in."""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F


class LanguagePrompt(nn.ModuleDict):
    """Frames and their language to frames: linear, ReLU, linear (NeMo's `prompt_kernel`, with its names).

    Args:
        hidden_size: width of a frame, D.
        num_prompts: length of the one-hot vector; places beyond the languages in use are room to grow.
    """

    def __init__(self, hidden_size: int, num_prompts: int = 128) -> None:
        super().__init__()
        if num_prompts < 1:
            raise ValueError(f"`num_prompts` must be 1 or more, got {num_prompts}")
        self.hidden_size = hidden_size
        self.num_prompts = num_prompts
        self["0"] = nn.Linear(hidden_size + num_prompts, 2 * hidden_size)
        self["2"] = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, encoder_out: Tensor, lang_ids: Tensor) -> Tensor:
        """Frames that know their language.

        Args:
            encoder_out: (B, T, D).
            lang_ids: place of each utterance's one in the one-hot vector, (B,), from 0 to num_prompts - 1.

        Returns:
            (B, T, D).
        """
        first, second = cast(nn.Linear, self["0"]), self["2"]
        of_frame, of_prompt = first.weight.tensor_split([self.hidden_size], dim=1)
        # A product with a one-hot vector is a column of the matrix.
        mixed = F.linear(encoder_out, of_frame, first.bias)  # (B, T, 2 D)
        mixed = mixed + of_prompt.t()[lang_ids][:, None].to(mixed.dtype)
        out: Tensor = second(mixed.relu())
        return out
