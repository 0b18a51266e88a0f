import pytest
import torch
from transformers import GenerationConfig

from maya_bridge.decoding import DecodeOptions, Heard, LLMRun, decode, without_guards
from maya_bridge.decoding.beam import beam_search
from maya_bridge.decoding.greedy import Task, greedy
from maya_bridge.projectors.mlp import MLPProjector

SIZES = (5, 9, 3, 12, 1, 7)
LIMIT = 40


def lively(model):
    """Weights so large that a random LLM writes many tokens, and <eos> now and then."""
    with torch.no_grad():
        for parameter in model.llm.model.layers.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3.0)
        for parameter in model.projector.parameters():
            parameter.mul_(2.0)
    return model.eval()


def prompt_of(model, texts, spell):
    projected = model.project(spell(texts))
    embed = model.llm.get_input_embeddings()
    langs = ["hi"] * len(texts)
    with torch.no_grad():
        return model.prompt.build(embed, projected.speech_embeds, projected.speech_embeds_lens, langs)


def generated(model, prompt) -> list[list[int]]:
    """What transformers' own loop writes."""
    tokenizer = model.llm_tokenizer
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=LIMIT,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
    )
    rows = model.llm.generate(
        inputs_embeds=prompt.inputs_embeds,
        attention_mask=prompt.attention_mask,
        position_ids=prompt.position_ids,
        generation_config=config,
    ).tolist()
    return [row[: row.index(tokenizer.eos_id)] if tokenizer.eos_id in row else row for row in rows]


def texts_of(letters) -> list[str]:
    return [("".join(letters) * 2)[start : start + size] for start, size in enumerate(SIZES)]


def heard_by(texts) -> Heard:
    return Heard(["hi"] * len(texts), [1.0] * len(texts), max_tokens=[LIMIT] * len(texts))


@pytest.mark.parametrize("positions", ["rope", "restart"])
@pytest.mark.parametrize("projector", [None, MLPProjector()])
def test_greedy_writes_what_generate_writes(make_model, spell, letters, positions, projector) -> None:
    ended = 0
    for seed in range(2):
        model = lively(make_model(projector, positions=positions, seed=seed))
        texts = texts_of(letters)
        prompt = prompt_of(model, texts, spell)
        found = decode(model.llm, model.llm_tokenizer, prompt, heard_by(texts), without_guards())
        wanted = generated(model, prompt)
        assert [one.ids for one in found] == wanted
        ended += sum(one.finished for one in found)
        assert [one.finished for one in found] == [len(row) < LIMIT for row in wanted]
        assert [one.passes for one in found] == [min(len(row) + 1, LIMIT) for row in wanted]
        assert len({tuple(row) for row in wanted}) > 1
    assert ended


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_a_batch_of_mixed_lengths_writes_what_its_rows_write_alone(
    make_model, spell, letters, strategy
) -> None:
    model = lively(make_model(MLPProjector(), positions="rope", seed=1))
    texts = texts_of(letters)
    options = DecodeOptions(strategy=strategy)
    together = decode(
        model.llm, model.llm_tokenizer, prompt_of(model, texts, spell), heard_by(texts), options
    )
    for row, text in enumerate(texts):
        (single,) = decode(
            model.llm, model.llm_tokenizer, prompt_of_row(model, texts, spell, row), heard_by([text]), options
        )
        assert single.ids == together[row].ids
        assert single.score == pytest.approx(together[row].score, abs=1e-3)


def prompt_of_row(model, texts, spell, row):
    batch = prompt_of(model, texts, spell)
    start = int((batch.attention_mask[row] == 0).sum())
    parts = (batch.inputs_embeds, batch.attention_mask, batch.position_ids, batch.labels)
    return type(batch)(*(part[row : row + 1, start:] for part in parts))


def plain_score(model, prompt, ids: list[int]) -> float:
    logits = LLMRun(model.llm).prefill_with(prompt, torch.tensor([ids], dtype=torch.long))
    return float(
        logits[0].log_softmax(-1)[torch.arange(len(ids) + 1), [*ids, model.llm_tokenizer.eos_id]].sum()
    )


def test_the_score_is_the_log_probability_of_the_text(make_model, spell, letters) -> None:
    model = lively(make_model(MLPProjector(), positions="rope", seed=1))
    texts = texts_of(letters)
    prompt = prompt_of(model, texts, spell)
    for options in (without_guards(), without_guards("beam")):
        found = decode(model.llm, model.llm_tokenizer, prompt, heard_by(texts), options)
        for row, one in enumerate(found):
            if one.finished:
                wanted = plain_score(model, prompt_of_row(model, texts, spell, row), one.ids)
                assert one.score == pytest.approx(wanted, abs=1e-3)


def test_a_beam_of_one_is_greedy_and_wider_ones_find_likelier_texts(make_model, spell, letters) -> None:
    differ = 0
    for seed in range(2):
        model = lively(make_model(MLPProjector(), positions="rope", seed=seed))
        texts = texts_of(letters)
        prompt = prompt_of(model, texts, spell)
        task = Task(model.llm_tokenizer, ["hi"] * len(texts), [12] * len(texts))
        plain = greedy(LLMRun(model.llm), prompt, task)
        assert [one.ids for one in beam_search(LLMRun(model.llm), prompt, task, 1)] == [
            one.ids for one in plain
        ]
        wide = beam_search(LLMRun(model.llm), prompt, task, 4)
        for narrow, one in zip(plain, wide, strict=True):
            assert [c.score for c in one.nbest] == sorted((c.score for c in one.nbest), reverse=True)
            assert len({c.text for c in one.nbest}) == len(one.nbest) <= 4
            differ += narrow.ids != one.ids
            if narrow.finished and one.finished:
                assert one.score > narrow.score - 1e-3
    assert differ


def test_a_wide_beam_finds_the_best_of_all_short_texts(make_model, spell, letters) -> None:
    model = lively(make_model(MLPProjector(), positions="rope", seed=2))
    prompt = prompt_of(model, texts_of(letters)[:1], spell)
    tokenizer = model.llm_tokenizer
    (found,) = beam_search(LLMRun(model.llm), prompt, Task(tokenizer, ["hi"], [2]), 10_000)
    size = model.llm.config.vocab_size
    pairs = [[], *([a] for a in range(size) if a != tokenizer.eos_id)]
    assert found.score == pytest.approx(max(plain_score(model, prompt, ids) for ids in pairs), abs=1e-3)


def test_rows_end_at_their_own_caps(make_model, spell, letters) -> None:
    model = lively(make_model(MLPProjector(), positions="rope", seed=1))
    texts = texts_of(letters)
    prompt = prompt_of(model, texts, spell)
    full = decode(model.llm, model.llm_tokenizer, prompt, heard_by(texts), without_guards())
    caps = [1, 2, 3, 4, 5, 6]
    heard = Heard(["hi"] * 6, [1.0] * 6, max_tokens=caps)
    capped = decode(model.llm, model.llm_tokenizer, prompt, heard, without_guards())
    assert [one.ids for one in capped] == [one.ids[:cap] for one, cap in zip(full, caps, strict=True)]
