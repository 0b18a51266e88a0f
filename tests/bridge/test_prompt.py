import pytest
import torch
from torch import nn

from maya_bridge.prompt import IGNORED, Prompt, PromptConfig, Targets
from maya_bridge.text_side import LLMTokenizer
from maya_bridge.tiny import character_tokenizer

A = -1.0
PAD, EOS, BOS, OPEN, CLOSE, TASK, HINDI, TAMIL = 0, 1, 2, 3, 4, 5, 10, 16


@pytest.fixture
def embed():
    table = nn.Embedding(40, 1)
    table.weight.data = torch.arange(40.0)[:, None]
    return table


def prompt(**fields):
    return Prompt(PromptConfig(**fields), LLMTokenizer(character_tokenizer("abc")))


def speech(*lens):
    return torch.full((len(lens), max(lens), 1), A), torch.tensor(lens)


def targets(*rows):
    ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return Targets(ids, torch.tensor([len(row) for row in rows]), ids)


def test_training_rows_are_packed_and_padded_on_the_right(embed):
    batch = prompt().build(embed, *speech(2, 1), ["hi", "ta"], targets([20, 21], [22]))

    assert batch.inputs_embeds[..., 0].tolist() == [
        [BOS, OPEN, A, A, CLOSE, TASK, HINDI, 20, 21, EOS],
        [BOS, OPEN, A, CLOSE, TASK, TAMIL, 22, EOS, PAD, PAD],
    ]
    assert batch.attention_mask.tolist() == [[1] * 10, [1] * 8 + [0, 0]]
    assert batch.labels.tolist() == [
        [IGNORED] * 7 + [20, 21, EOS],
        [IGNORED] * 6 + [22, EOS, IGNORED, IGNORED],
    ]
    assert batch.position_ids.tolist() == [list(range(10)), [0, 1, 2, 3, 4, 5, 6, 7, 0, 0]]


def test_generation_rows_are_padded_on_the_left(embed):
    batch = prompt().build(embed, *speech(2, 0), ["hi", "ta"])

    assert batch.inputs_embeds[..., 0].tolist() == [
        [BOS, OPEN, A, A, CLOSE, TASK, HINDI],
        [PAD, PAD, BOS, OPEN, CLOSE, TASK, TAMIL],
    ]
    assert batch.attention_mask.tolist() == [[1] * 7, [0, 0, 1, 1, 1, 1, 1]]
    assert batch.position_ids.tolist() == [list(range(7)), [0, 0, 0, 1, 2, 3, 4]]
    assert (batch.labels == IGNORED).all()


def test_restarted_query_of_token_k_stands_at_speech_vector_k(embed):
    batch = prompt(positions="restart").build(embed, *speech(3), ["hi"], targets([20, 21, 22]))

    #                                         bos open  A  A  A  close task lang text     eos
    assert batch.position_ids[0].tolist() == [0, 0, 0, 1, 2, 0, 0, 0, 1, 2, 3, 4]
    assert batch.labels[0].tolist() == [IGNORED] * 8 + [20, 21, 22, EOS]


def test_restarted_positions_of_left_padded_rows(embed):
    batch = prompt(positions="restart").build(embed, *speech(3, 1), ["hi", "ta"])

    assert batch.position_ids.tolist() == [[0, 0, 0, 1, 2, 0, 0, 0], [0] * 8]


def test_without_the_language_the_prompt_ends_with_the_task(embed):
    batch = prompt(lang_token=False).build(embed, *speech(1), ["hi"], targets([20]))

    assert batch.inputs_embeds[0, :, 0].tolist() == [BOS, OPEN, A, CLOSE, TASK, 20, EOS]


def test_fed_tokens_may_differ_from_the_labels(embed):
    clean = targets([20, 21])
    batch = prompt().build(embed, *speech(1), ["hi"], Targets(clean.labels, clean.lens, clean.labels + 5))

    assert batch.inputs_embeds[0, -3:, 0].tolist() == [25, 26, EOS]
    assert batch.labels[0, -3:].tolist() == [20, 21, EOS]


def test_overhead_counts_what_is_neither_speech_nor_text(embed):
    for lang_token in (True, False):
        layout = prompt(lang_token=lang_token)
        batch = layout.build(embed, *speech(2), ["hi"], targets([20, 21, 22]))
        assert batch.labels.shape[1] == layout.overhead + 2 + 3


def test_an_unknown_way_of_counting_is_refused():
    with pytest.raises(ValueError, match="`positions` must be rope or restart, got alibi"):
        PromptConfig(positions="alibi")
