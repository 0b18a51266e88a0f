from types import SimpleNamespace

import pytest
import torch
from torch import nn

from maya_bridge.prompt import IGNORED, Prompt, PromptConfig, Targets, sliding_window
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


CONTEXT = ("<|ctx|>", "<|/ctx|>")


def prompt_with_context(**fields):
    hf = character_tokenizer("abc")
    hf.add_special_tokens({"additional_special_tokens": list(CONTEXT)})
    hf.add_tokens([" ", ","])
    return Prompt(PromptConfig(**fields), LLMTokenizer(hf))


def test_hotwords_stand_in_front_of_the_speech(embed):
    layout = prompt_with_context()
    batch = layout.build(embed, *speech(2, 1), ["en", "ta"], targets([20], [21]), hotwords=[["ab", "c"], []])

    a, b, c = (layout.tokenizer.encode_piece(letter)[0] for letter in "abc")
    space, comma = (layout.tokenizer.encode_piece(text)[0] for text in (" ", ","))
    opened, closed = (layout.tokenizer.context_id(token) for token in CONTEXT)
    context = [opened, space, a, b, comma, space, c, closed]
    english = layout.tokenizer.lang_id("en")
    whole = [BOS, *context, OPEN, A, A, CLOSE, TASK, english, 20, EOS]
    assert batch.inputs_embeds[0, :, 0].tolist() == whole
    assert batch.inputs_embeds[1, :8, 0].tolist() == [BOS, OPEN, A, CLOSE, TASK, TAMIL, 21, EOS]
    assert batch.attention_mask.sum(1).tolist() == [len(whole), 8]
    assert batch.position_ids[0].tolist() == list(range(len(whole)))
    assert (batch.labels[0, :-2] == IGNORED).all()


def test_hotwords_keep_their_order_where_positions_restart(embed):
    batch = prompt_with_context(positions="restart").build(
        embed, *speech(2), ["en"], targets([20]), hotwords=[["ab"]]
    )

    #                                         bos ctx _ a  b /ctx open A  A  close task lang text eos
    assert batch.position_ids[0].tolist() == [0, 1, 2, 3, 4, 5, 0, 0, 1, 0, 0, 0, 1, 2]


def test_hotwords_need_a_tokenizer_that_has_a_place_for_them(embed):
    with pytest.raises(ValueError, match=r"hotwords need an LLM whose tokenizer knows <\|ctx\|>"):
        prompt().build(embed, *speech(1), ["en"], hotwords=[["ab"]])


def test_a_row_without_hotwords_is_as_ever(embed):
    plain = prompt().build(embed, *speech(2), ["hi"], targets([20]))
    empty = prompt().build(embed, *speech(2), ["hi"], targets([20]), hotwords=[[]])

    assert torch.equal(plain.inputs_embeds, empty.inputs_embeds)
    assert torch.equal(plain.position_ids, empty.position_ids)


def test_a_prompt_that_asks_for_the_language_ends_before_it(embed):
    batch = prompt().build(embed, *speech(1), None)

    assert batch.inputs_embeds[0, :, 0].tolist() == [BOS, OPEN, A, CLOSE, TASK]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_rows_learns_to_name_the_language(share, embed):
    rows = 400
    layout, draw = prompt(lid_prob=share), torch.Generator().manual_seed(0)
    batch = layout.build(embed, *speech(*[1] * rows), ["hi"] * rows, targets(*[[20]] * rows), generator=draw)

    named = batch.labels[:, 5] == HINDI
    assert float(named.float().mean()) == pytest.approx(share, abs=0.07)
    assert (batch.labels[:, :5] == IGNORED).all()
    assert (batch.labels[~named, 5] == IGNORED).all()
    assert (batch.labels[:, 6:] == torch.tensor([20, EOS])).all()


def test_no_number_is_drawn_where_no_language_is_learnt(embed):
    torch.manual_seed(0)
    prompt().build(embed, *speech(1), ["hi"], targets([20]))
    after = torch.rand(1)
    torch.manual_seed(0)

    assert torch.equal(after, torch.rand(1))


def test_ids_tell_what_was_said_whatever_is_fed(embed):
    clean = targets([20, 21])
    batch = prompt().build(embed, *speech(1), ["hi"], Targets(clean.labels, clean.lens, clean.labels + 5))

    assert batch.ids[0].tolist() == [BOS, OPEN, PAD, CLOSE, TASK, HINDI, 20, 21, EOS]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": "ignore"}, "`window` must be refuse or warn, got ignore"),
        ({"lid_prob": 1.5}, "`lid_prob` must be from 0 to 1, got 1.5"),
        ({"lid_prob": 0.3, "lang_token": False}, "`lid_prob` needs `lang_token`, got 0.3 without it"),
    ],
)
def test_bad_settings_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        PromptConfig(**fields)


@pytest.mark.parametrize(
    ("llm", "window"),
    [
        ({"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"]}, 512),
        ({"sliding_window": 512, "layer_types": ["full_attention"]}, None),
        ({"sliding_window": 4096}, 4096),
        ({"sliding_window": None}, None),
        ({}, None),
    ],
)
def test_the_window_is_that_of_the_layers_that_slide(llm, window):
    assert sliding_window(SimpleNamespace(**llm)) == window
