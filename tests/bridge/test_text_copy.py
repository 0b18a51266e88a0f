import torch

from maya_bridge.corruption import Corruption
from maya_bridge.text_copy import noisy_copy, text_copy_loss


def test_noisy_copy_drops_replaces_and_inserts_a_few():
    ids, lens = torch.full((40, 200), 5), torch.full((40,), 200)

    out, out_lens = noisy_copy(ids, lens, torch.tensor([8, 9]), torch.Generator().manual_seed(0))

    strange = sum(int((row[:size] != 5).sum()) for row, size in zip(out, out_lens.tolist(), strict=True))
    assert 0.04 < strange / 8000 < 0.08
    assert 0.98 < float(out_lens.sum()) / 8000 < 1.02


def test_noisy_copy_never_loses_a_text_nor_invents_one():
    _, lens = noisy_copy(torch.full((500, 1), 5), torch.tensor([1] * 499 + [0]), torch.tensor([8]), None)

    assert (lens[:499] >= 1).all()
    assert lens[499] == 0


def test_llm_learns_to_copy(make_model, sentences):
    model = make_model()
    optimizer = torch.optim.AdamW(model.llm.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(50):
        parts = text_copy_loss(
            model.llm, model.llm_tokenizer, model.prompt, sentences, ["hi"] * 4, generator, Corruption()
        )
        loss = parts.loss_sum / parts.num_tokens
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))

    assert sum(losses[-10:]) / 10 < losses[0] / 2
