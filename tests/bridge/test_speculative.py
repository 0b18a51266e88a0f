"""Speculative search against greedy search, on a random LLM whose logits are far apart."""

import random
from dataclasses import replace

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from maya_bridge.decoding.greedy import Task, greedy
from maya_bridge.decoding.options import SpeculativeOptions
from maya_bridge.decoding.speculative import speculative
from maya_bridge.decoding.state import LLMRun
from maya_bridge.fused_loss import ends_in_its_head
from maya_bridge.llm import LLMConfig
from maya_bridge.prompt import PromptBatch
from maya_bridge.text_side import LLMTokenizer
from maya_bridge.tiny import character_tokenizer, tiny_gemma

LETTERS = "abcdefgh "
HIDDEN, WINDOW = 32, 12


@pytest.fixture(scope="module")
def tokenizer() -> LLMTokenizer:
    return LLMTokenizer(character_tokenizer(LETTERS))


class Restless(Gemma3ForCausalLM):
    """A random LLM that does not fall into a loop: what it likes changes from position to position."""

    def forward(self, *args, position_ids, **kwargs):
        output = super().forward(*args, position_ids=position_ids, **kwargs)
        output.logits = output.logits + self.likes[position_ids[:, -output.logits.shape[1] :]]
        return output


@pytest.fixture(scope="module")
def llm(tokenizer) -> Restless:
    """Writes texts that hang on its prompt, of words of a few letters, and ends some of them."""
    torch.manual_seed(3)
    size = len(tokenizer.hf)
    config = Gemma3TextConfig(
        vocab_size=size,
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention"],
        tie_word_embeddings=False,
    )
    model = Restless(config).double().eval()  # so that ties of floating point do not decide
    likes = torch.full((100, size), -100.0).double()
    likes[:, tokenizer.text_ids] = 8 * torch.randn(100, len(tokenizer.text_ids)).double()
    likes[:, tokenizer.encode_piece(" ")[0]] = -100.0
    likes[::5, tokenizer.encode_piece(" ")[0]] = 15.0
    likes[:, tokenizer.eos_id] = -10.0
    likes[38:, tokenizer.eos_id] = 5.0
    model.register_buffer("likes", likes)
    with torch.no_grad():
        model.lm_head.weight.normal_()
    return model


def prompts(count: int, seed: int) -> PromptBatch:
    generator = torch.Generator().manual_seed(seed)
    lens = torch.randint(1, 25, (count,), generator=generator)
    longest = int(lens.max())
    mask = (torch.arange(longest) >= longest - lens[:, None]).long()
    embeds = torch.randn(count, longest, HIDDEN, generator=generator).double() * mask[..., None]
    return PromptBatch(embeds, mask, (mask.cumsum(1) - 1).clamp(min=0), torch.full_like(mask, -100))


def task_for(tokenizer: LLMTokenizer, count: int, cap: int = 40, **parts) -> Task:
    return Task(tokenizer, ["en"] * count, [cap] * count, **parts)


def wrong_words(text: str, share: float, rng: random.Random) -> str:
    """Exchange a letter of a word, drop it, or put another behind it."""
    words = []
    for word in text.split():
        kind = rng.random() if rng.random() < share else 1.0
        if kind < 0.7:
            place = rng.randrange(len(word))
            words.append(word[:place] + rng.choice("abcdefgh") + word[place + 1 :])
        elif kind >= 0.85:
            words.append(word)
            words += ["".join(rng.choices("abcdefgh", k=4))] * (kind < 1.0)
    return " ".join(words)


@pytest.fixture(scope="module")
def utterances(llm, tokenizer):
    """200 prompts and their greedy texts, 25 at a time."""
    found = []
    for seed in range(8):
        batch = prompts(25, seed)
        found.append((batch, greedy(LLMRun(llm), batch, task_for(tokenizer, 25))))
    return found


@pytest.fixture(scope="module")
def eight(utterances):
    """The first eight prompts of the first batch, and their greedy texts."""
    batch, texts = utterances[0]
    parts = (batch.inputs_embeds, batch.attention_mask, batch.position_ids, batch.labels)
    return PromptBatch(*(part[:8] for part in parts)), texts[:8]


def test_the_texts_to_compare_are_many_and_of_all_kinds(utterances) -> None:
    texts = [one for _, texts in utterances for one in texts]
    assert len(texts) == 200
    assert len({one.text for one in texts}) > 150
    assert 20 < sum(one.finished for one in texts) < 180
    assert sum(len(one.text.split()) > 2 for one in texts) > 50


@pytest.mark.parametrize("draft", [0.0, 0.05, 0.1, 0.2, 0.4, "empty", "garbage", "too long"])
def test_exact_mode_writes_the_greedy_text_whatever_the_draft(draft, utterances, llm, tokenizer) -> None:
    rng = random.Random(0)
    passes = {"greedy": 0, "speculative": 0}
    for batch, wanted in utterances:
        if isinstance(draft, float):
            drafts = [wrong_words(one.text, draft, rng) for one in wanted]
        elif draft == "empty":
            drafts = [""] * 25
        elif draft == "garbage":
            drafts = ["".join(rng.choices(LETTERS + "xyz\u0915<>\ufffd", k=50)) for _ in wanted]
        else:
            drafts = [f"{one.text} {'abc ' * 30}" for one in wanted]
        found = speculative(LLMRun(llm), batch, task_for(tokenizer, 25), drafts)
        assert [one.ids for one in found] == [one.ids for one in wanted]
        for own, theirs in zip(found, wanted, strict=True):
            assert (own.text, own.finished) == (theirs.text, theirs.finished)
            assert own.score == pytest.approx(theirs.score, abs=1e-3)
            assert own.passes <= theirs.passes
            passes["speculative"] += own.passes
            passes["greedy"] += theirs.passes
    if draft == 0.0:
        assert passes["speculative"] <= 2 * 200
    if draft in (0.05, 0.1):
        assert passes["greedy"] > 3 * passes["speculative"]
    if draft == "empty":
        assert passes["greedy"] == passes["speculative"]


def test_a_row_alone_gives_what_it_gives_in_a_batch(eight, llm, tokenizer) -> None:
    batch, wanted = eight
    rng = random.Random(1)
    drafts = [wrong_words(one.text, 0.3, rng) for one in wanted]
    together = speculative(LLMRun(llm), batch, task_for(tokenizer, 8), drafts)
    for row in range(8):
        parts = (batch.inputs_embeds, batch.attention_mask, batch.position_ids, batch.labels)
        own = PromptBatch(*(part[row : row + 1] for part in parts))
        alone = speculative(LLMRun(llm), own, task_for(tokenizer, 1), drafts[row : row + 1])[0]
        assert (alone.ids, alone.passes) == (together[row].ids, together[row].passes)


@pytest.mark.parametrize("cap", [1, 2, 7])
def test_caps_hold_as_in_greedy_search(cap, eight, llm, tokenizer) -> None:
    batch, whole = eight
    task = task_for(tokenizer, 8, cap)
    found = speculative(LLMRun(llm), batch, task, [one.text for one in whole])
    wanted = greedy(LLMRun(llm), batch, task)
    assert [(one.ids, one.finished) for one in found] == [(one.ids, one.finished) for one in wanted]


class StopAt:
    """A guard that ends a row behind its first `letter`."""

    def __init__(self, index: int):
        self.index = index

    def stops(self, row: int, ids: list[int]) -> bool:
        return row % 2 == 0 and ids[-1] == self.index


def test_guards_and_permitted_tokens_hold_as_in_greedy_search(eight, llm, tokenizer) -> None:
    batch, whole = eight
    allowed = torch.ones(8, len(tokenizer.hf), dtype=torch.bool)
    allowed[3:, tokenizer.encode_piece("a")[0]] = False
    task = task_for(tokenizer, 8, allowed=allowed, guard=StopAt(tokenizer.encode_piece("c")[0]))
    found = speculative(LLMRun(llm), batch, task, [one.text for one in whole])
    wanted = greedy(LLMRun(llm), batch, task)
    assert [(one.ids, one.finished) for one in found] == [(one.ids, one.finished) for one in wanted]
    assert [one.ids for one in wanted] != [one.ids for one in whole]


def test_few_proposals_at_a_time_change_passes_and_nothing_else(eight, llm, tokenizer, monkeypatch) -> None:
    monkeypatch.setattr("maya_bridge.decoding.speculative.MAX_LOGITS", 1)
    batch, wanted = eight
    found = speculative(LLMRun(llm), batch, task_for(tokenizer, 8), [one.text for one in wanted])
    assert [one.ids for one in found] == [one.ids for one in wanted]
    assert max(one.passes for one in found) > 2


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_an_llm_of_many_tokens_reads_little_where_the_draft_is_in_doubt_and_writes_the_same(
    share, utterances, llm, tokenizer, monkeypatch
) -> None:
    rng = random.Random(4)
    batch, wanted = utterances[1]
    drafts = [wrong_words(one.text, share, rng) for one in wanted]
    before = read(llm, batch, tokenizer, drafts, wanted)
    monkeypatch.setattr("maya_bridge.decoding.speculative.SMALL_VOCABULARY", 1)

    found = read(llm, batch, tokenizer, drafts, wanted)

    assert found < before or share == 0.1  # there is little doubt then


def read(llm, batch, tokenizer, drafts, wanted) -> int:
    """Verify the drafts one by one; return how many tokens were read in all."""
    tokens = 0
    for row, draft in enumerate(drafts):
        parts = (batch.inputs_embeds, batch.attention_mask, batch.position_ids, batch.labels)
        run = CountingRun(llm)
        own = PromptBatch(*(part[row : row + 1] for part in parts))
        assert speculative(run, own, task_for(tokenizer, 1), [draft])[0].ids == wanted[row].ids
        tokens += run.tokens
    return tokens


class CountingRun(LLMRun):
    tokens = 0

    def verify(self, ids, lens):
        self.tokens += int(lens.sum())
        return super().verify(ids, lens)


def test_relaxed_mode_takes_draft_tokens_that_are_nearly_best(eight, llm, tokenizer) -> None:
    batch, wanted = eight
    rng = random.Random(2)
    drafts = [wrong_words(one.text, 0.4, rng) for one in wanted]
    task = task_for(tokenizer, 8)
    strict = SpeculativeOptions(mode="relaxed", top_k=1, max_gap=0.0)
    assert [one.ids for one in speculative(LLMRun(llm), batch, task, drafts, strict)] == [
        one.ids for one in wanted
    ]
    anything = SpeculativeOptions(mode="relaxed", top_k=10**6, max_gap=1e9)
    found = speculative(LLMRun(llm), batch, task_for(tokenizer, 8, cap=80), drafts, anything)
    assert [(one.text, one.passes) for one in found] == [(draft, 1) for draft in drafts]


@pytest.mark.parametrize(("top_k", "max_gap"), [(2, 1e9), (10**6, 6.0), (3, 8.0)])
def test_relaxed_tokens_are_the_best_or_near_the_best(top_k, max_gap, eight, llm, tokenizer) -> None:
    batch, wanted = eight
    rng = random.Random(2)
    drafts = [wrong_words(one.text, 0.6, rng) for one in wanted]
    options = SpeculativeOptions(mode="relaxed", top_k=top_k, max_gap=max_gap)
    found = speculative(LLMRun(llm), batch, task_for(tokenizer, 8), drafts, options)
    longest = max(len(one.ids) for one in found)
    ids = torch.tensor([one.ids + [tokenizer.pad_id] * (longest - len(one.ids)) for one in found])
    logits = LLMRun(llm).prefill_with(batch, ids)[:, :-1]
    own = logits.gather(2, ids[..., None])
    real = ids != tokenizer.pad_id
    assert int(((logits > own).sum(2) * real).max()) in range(1, top_k)
    assert 0 < float(((logits.amax(2) - own[..., 0]) * real).max()) <= max_gap + 1e-4


def test_relaxed_scores_are_those_of_the_tokens_taken(eight, llm, tokenizer) -> None:
    batch, _ = eight
    options = SpeculativeOptions(mode="relaxed", top_k=10**6, max_gap=1e9)
    drafts = ["abc de fgh"] * 8
    found = speculative(LLMRun(llm), batch, task_for(tokenizer, 8), drafts, options)
    ids = torch.tensor([[*tokenizer.encode(drafts[0], "en")]] * 8)
    log_probs = LLMRun(llm).prefill_with(batch, ids).log_softmax(-1)
    closed = torch.cat([ids, torch.full((8, 1), tokenizer.eos_id)], dim=1)
    wanted = log_probs.gather(2, closed[..., None]).sum(dim=(1, 2))
    assert [one.score for one in found] == pytest.approx(wanted.tolist(), rel=1e-5)


def test_gate_mode_takes_sure_drafts_and_verifies_the_others(eight, llm, tokenizer) -> None:
    batch, wanted = eight
    options = SpeculativeOptions(mode="gate", max_entropy=0.1)
    entropies = [0.01, 0.5, 0.1, 0.2, 0.0, 0.7, 0.9, 0.11]
    drafts = [f"  draft  {row} " for row in range(8)]
    found = speculative(LLMRun(llm), batch, task_for(tokenizer, 8), drafts, options, entropies)
    for row, one in enumerate(found):
        if entropies[row] <= 0.1:
            assert (one.text, one.passes, one.fallback) == (f"draft {row}", 0, "gate")
        else:
            assert (one.ids, one.fallback) == (wanted[row].ids, None)
    nothing = speculative(LLMRun(llm), batch, task_for(tokenizer, 8), drafts, options, [0.0] * 8)
    assert {one.passes for one in nothing} == {0}


def test_gate_has_a_limit_of_each_language(eight, llm, tokenizer) -> None:
    batch, _ = eight
    options = SpeculativeOptions(mode="gate", max_entropy=0.1, lang_max_entropies={"hi": 0.6})
    task = Task(tokenizer, ["en", "hi"] * 4, [4] * 8)

    found = speculative(LLMRun(llm), batch, task, ["draft"] * 8, options, [0.5] * 8)

    assert [one.fallback for one in found] == [None, "gate"] * 4
    with pytest.raises(ValueError, match=r"`lang_max_entropies\[hi\]` must be 0 or more, got -1"):
        SpeculativeOptions(lang_max_entropies={"hi": -1})


def test_a_draft_that_is_longer_than_what_is_read_at_a_time_is_verified_whole(
    eight, llm, tokenizer, monkeypatch
) -> None:
    batch, wanted = eight
    monkeypatch.setattr("maya_bridge.decoding.speculative.AT_ONCE", 3)
    for drafts in ([one.text for one in wanted], [one.text[::-1] for one in wanted]):
        found = speculative(LLMRun(llm), batch, task_for(tokenizer, 8), drafts)
        assert [one.ids for one in found] == [one.ids for one in wanted]
        assert [one.score for one in found] == pytest.approx([one.score for one in wanted])


def test_logits_from_hidden_states_are_those_of_the_llm(tokenizer) -> None:
    config = LLMConfig(source="tiny", hidden_size=HIDDEN, num_heads=2)
    llm = tiny_gemma(len(tokenizer.hf), config).eval()
    batch = prompts(4, seed=1)
    batch = replace(batch, inputs_embeds=batch.inputs_embeds.float())
    ids, lens = torch.randint(0, 5, (4, 6)), torch.tensor([6, 2, 0, 5])
    assert ends_in_its_head(llm)

    whole = LLMRun(llm).prefill_with(batch, ids, lens)
    lazy = LLMRun(llm).verify_behind(batch, ids, lens)

    assert lazy.num_positions == 7
    torch.testing.assert_close(lazy.part([0, 1, 2, 3], 0, 3), whole[:, :3])
    torch.testing.assert_close(lazy.part([3, 0], 2, 7), whole[[3, 0], 2:7])


def test_a_model_with_its_own_way_to_logits_is_asked_whole(llm) -> None:
    assert not ends_in_its_head(llm)


def test_flash_attention_is_refused_before_anything_is_written(tokenizer) -> None:
    llm = tiny_gemma(len(tokenizer.hf), LLMConfig(source="tiny", hidden_size=HIDDEN, num_heads=2))
    llm.config._attn_implementation_internal = "flash_attention_2"

    with pytest.raises(ValueError, match="attention sdpa or eager to write text, got flash_attention_2"):
        LLMRun(llm)


def test_a_missing_draft_or_entropy_is_named(eight, llm, tokenizer) -> None:
    batch, _ = eight
    with pytest.raises(ValueError, match="`drafts` must be one for each of 8 prompts, got 2"):
        speculative(LLMRun(llm), batch, task_for(tokenizer, 8), ["a", "b"])
    options = SpeculativeOptions(mode="gate")
    with pytest.raises(ValueError, match="`entropies` must be one for each of 8 prompts, got none"):
        speculative(LLMRun(llm), batch, task_for(tokenizer, 8), [""] * 8, options)
