"""Prediction networks of the transducer: what the labels so far say about the next one.

Both take labels (B, U) and give U+1 outputs, the first for the empty history; and both walk one label at a
time from a state whose first dimension is the utterance.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LSTMPrediction(nn.Module):
    """Embedding and LSTM; names and forget-gate start as in NeMo's RNNTDecoder.

    The empty history is the blank's embedding: a zero that stays zero in what is trained here or with NeMo,
    and whatever the checkpoint says in Hugging Face's models.
    """

    def __init__(self, vocab_size: int, hidden_size: int, num_layers: int = 1) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.blank_id = vocab_size - 1
        self.embed = nn.Embedding(vocab_size, hidden_size, padding_idx=self.blank_id)
        self.dec_rnn = nn.ModuleDict(
            {"lstm": nn.LSTM(hidden_size, hidden_size, num_layers, batch_first=True)}
        )
        forget = slice(hidden_size, 2 * hidden_size)
        with torch.no_grad():
            for layer in range(num_layers):
                getattr(self.dec_rnn["lstm"], f"bias_ih_l{layer}")[forget] = 1
                getattr(self.dec_rnn["lstm"], f"bias_hh_l{layer}")[forget] = 0

    def forward(self, tokens: Tensor) -> Tensor:
        """Outputs (B, U+1, P) for labels (B, U)."""
        states: Tensor = self.dec_rnn["lstm"](self.embed(F.pad(tokens, (1, 0), value=self.blank_id)))[0]
        return states

    def start(self, batch: int) -> tuple[Tensor, Tensor]:
        """Output (B, P) and state (B, 2, layers, P) before the first label."""
        weight = self.embed.weight
        state = weight.new_zeros(batch, 2, self.num_layers, weight.size(1))
        return self._walk(weight[self.blank_id].expand(batch, -1), state)

    def step(self, labels: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output and state after one more label (B,)."""
        return self._walk(self.embed(labels), state)

    def _walk(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        # nn.LSTM lays out its weights anew in every call, which for a single step is most of the time.
        hidden, cells = [], []
        for layer, weights in enumerate(cast(nn.LSTM, self.dec_rnn["lstm"]).all_weights):
            inputs, cell = torch.lstm_cell(inputs, (state[:, 0, layer], state[:, 1, layer]), *weights)
            hidden.append(inputs)
            cells.append(cell)
        return inputs, torch.stack([torch.stack(hidden, dim=1), torch.stack(cells, dim=1)], dim=1)


class StatelessPrediction(nn.Module):
    """Embeddings of the last `context_size` labels, mixed by one layer (after Ghodsi et al. 2020)."""

    def __init__(self, vocab_size: int, hidden_size: int, context_size: int = 2) -> None:
        super().__init__()
        self.blank_id = vocab_size - 1
        self.context_size = context_size
        self.embed = nn.Embedding(vocab_size, hidden_size, padding_idx=self.blank_id)
        self.mix = nn.Linear(context_size * hidden_size, hidden_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Outputs (B, U+1, P) for labels (B, U)."""
        embedded = F.pad(self.embed(tokens), (0, 0, self.context_size, 0))  # (B, context+U, P)
        windows = embedded.unfold(1, self.context_size, 1)  # (B, U+1, P, context)
        return F.silu(self.mix(windows.transpose(2, 3).flatten(2)))

    def start(self, batch: int) -> tuple[Tensor, Tensor]:
        """Output (B, P) and state, the last labels (B, context), before the first label."""
        blanks = torch.full((batch, self.context_size), self.blank_id, device=self.embed.weight.device)
        return self._mix(blanks), blanks

    def step(self, labels: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output and state after one more label (B,)."""
        state = torch.cat([state[:, 1:], labels.unsqueeze(1)], dim=1)
        return self._mix(state), state

    def _mix(self, context: Tensor) -> Tensor:
        return F.silu(self.mix(self.embed(context).flatten(1)))
