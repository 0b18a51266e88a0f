import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from maya_bridge.decoding.injected import Injected
from maya_bridge.decoding.state import LLMRun
from maya_bridge.prompt import PromptBatch

VOCAB = 40


def tiny_llm(attention: str = "sdpa", sliding: bool = True) -> Gemma3ForCausalLM:
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=6,
        layer_types=["sliding_attention" if sliding else "full_attention"] * 2 + ["full_attention"],
        attn_implementation=attention,
    )
    llm = Gemma3ForCausalLM(config).eval()
    with torch.no_grad():  # so that attention matters as much as the token itself
        for parameter in llm.model.layers.parameters():
            parameter.mul_(4.0) if parameter.dim() > 1 else parameter
    return llm


def prompts(lens: list[int], positions: str = "rope", seed: int = 0) -> PromptBatch:
    generator = torch.Generator().manual_seed(seed)
    longest = max(lens)
    embeds = [torch.randn(length, 32, generator=generator) for length in lens]
    rows = [torch.cat([torch.zeros(longest - len(row), 32), row]) for row in embeds]
    mask = torch.tensor([[0] * (longest - length) + [1] * length for length in lens])
    place = (mask.cumsum(1) - 1).clamp(min=0)
    if positions == "restart":
        place = torch.where(torch.arange(longest) == longest - 1, 0, place)
    return PromptBatch(torch.stack(rows), mask, place, torch.full_like(mask, -100))


def alone(batch: PromptBatch, row: int) -> PromptBatch:
    start = int((batch.attention_mask[row] == 0).sum())
    parts = (batch.inputs_embeds, batch.attention_mask, batch.position_ids, batch.labels)
    return PromptBatch(*(part[row : row + 1, start:] for part in parts))


def plain_logits(llm: Gemma3ForCausalLM, prompt: PromptBatch, ids: list[int]) -> torch.Tensor:
    """One row in one call without a cache, by the LLM's own masks."""
    written = torch.tensor([ids], dtype=torch.long)
    embeds = torch.cat([prompt.inputs_embeds, llm.get_input_embeddings()(written)], dim=1)
    behind = prompt.position_ids[:, -1:] + 1 + torch.arange(len(ids))
    place = torch.cat([prompt.position_ids, behind], dim=1)
    mask = torch.ones(embeds.shape[:2], dtype=torch.long)
    with torch.no_grad():
        logits = llm(inputs_embeds=embeds, attention_mask=mask, position_ids=place).logits
    return logits[0, prompt.inputs_embeds.shape[1] - 1 :]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("positions", ["rope", "restart"])
def test_steps_of_a_mixed_batch_give_the_logits_of_each_row_alone(attention, positions) -> None:
    llm, batch = tiny_llm(attention), prompts([9, 4, 1, 7], positions)
    ids = torch.randint(VOCAB, (4, 9), generator=torch.Generator().manual_seed(1))
    run = LLMRun(llm)
    found = [run.prefill(batch)[:, None]]
    found += [run.step(ids[:, 0]), run.step(ids[:, 1:6]), run.step(ids[:, 6:])]
    together = torch.cat(found, dim=1)
    for row in range(4):
        torch.testing.assert_close(
            together[row], plain_logits(llm, alone(batch, row), ids[row].tolist()), atol=2e-4, rtol=0
        )
    assert run.passes.tolist() == [4] * 4


@pytest.mark.parametrize("seed", range(3))
def test_rows_that_advance_and_go_back_by_different_amounts_stay_themselves(seed) -> None:
    llm, batch = tiny_llm(), prompts([6, 2, 9], seed=seed)
    generator = torch.Generator().manual_seed(seed)
    run = LLMRun(llm)
    kept: list[list[int]] = [[], [], []]
    for turn in range(5):
        ids = torch.randint(VOCAB, (3, 5), generator=generator)
        lens = torch.randint(0, 6, (3,), generator=generator)
        logits = run.prefill_with(batch, ids, lens)[:, 1:] if turn == 0 else run.step(ids, lens)
        for row, count in enumerate(lens.tolist()):
            text = kept[row] + ids[row, :count].tolist()
            wanted = plain_logits(llm, alone(batch, row), text)[len(kept[row]) + 1 :]
            torch.testing.assert_close(logits[row, :count], wanted, atol=2e-4, rtol=0)
            kept[row] = text
        lens = torch.tensor([int(len(row) * float(torch.rand((), generator=generator))) for row in kept])
        lens = torch.maximum(lens, torch.tensor([max(0, len(row) - 3) for row in kept]))
        run.crop(lens)
        kept = [row[:count] for row, count in zip(kept, lens.tolist(), strict=True)]
        assert run.written == kept
        assert run.lens.tolist() == lens.tolist()


def test_rows_can_be_left_out_repeated_and_shuffled() -> None:
    llm, batch = tiny_llm(), prompts([6, 2, 9])
    run = LLMRun(llm)
    run.prefill(batch)
    run.step(torch.tensor([1, 2, 3]))
    run.reorder([1, 1, 0])
    run.expand(2)
    logits = run.step(torch.tensor([5, 6, 7, 8, 9, 10]))
    assert run.rows.tolist() == [1, 1, 1, 1, 0, 0]
    assert run.written == [[2, 5], [2, 6], [2, 7], [2, 8], [1, 9], [1, 10]]
    for row, ids in enumerate(run.written):
        wanted = plain_logits(llm, alone(batch, int(run.rows[row])), ids)[-1]
        torch.testing.assert_close(logits[row, 0], wanted, atol=2e-4, rtol=0)


def test_what_all_rows_dropped_leaves_the_cache() -> None:
    run = LLMRun(tiny_llm())
    run.prefill(prompts([6, 2, 9]))
    run.step(torch.ones(3, 8, dtype=torch.long))
    run.crop(torch.tensor([2, 3, 1]))
    assert run._cache.layers[0].keys.shape[2] == max(6 + 2, 2 + 3, 9 + 1)
    run.reorder([1])
    assert run._cache.layers[0].keys.shape[2] == 2 + 3


def test_padding_of_a_whole_window_gives_finite_logits() -> None:
    run = LLMRun(tiny_llm())
    assert bool(run.prefill(prompts([40, 1])).isfinite().all())


class CountingInjection:
    """Adds the unit count to the hidden states, so that a wrong index shows in the logits."""

    layers = (0,)

    def __init__(self, scale: torch.Tensor):
        self.scale = scale

    def __call__(self, layer, hidden, unit_index):
        return hidden + (unit_index * self.scale[:, None])[..., None]

    def select(self, rows):
        return CountingInjection(self.scale[rows])


def test_an_injection_sees_its_rows_and_the_units_written_so_far(monkeypatch) -> None:
    pytest.importorskip("maya_bridge.injection_hooks")
    llm, batch = tiny_llm(), prompts([6, 2])

    def count_units(ids, rows):
        longest = max(map(len, ids))
        return torch.arange(longest + 1).expand(len(ids), -1) // 2

    ids = torch.randint(VOCAB, (2, 6), generator=torch.Generator().manual_seed(1))
    scale = torch.tensor([1.0, 3.0])
    at_once = LLMRun(llm, Injected(CountingInjection(scale), count_units))
    wanted = at_once.prefill_with(batch, ids)
    run = LLMRun(llm, Injected(CountingInjection(scale), count_units))
    run.prefill(batch)
    run.reorder([1, 0])
    found = torch.stack([run.step(ids[[1, 0], n])[:, 0] for n in range(6)], dim=1)
    torch.testing.assert_close(found[[1, 0]], wanted[:, 1:], atol=2e-4, rtol=0)
    plain = LLMRun(llm).prefill_with(batch, ids)
    assert float((plain - wanted).abs().max()) > 0.1
