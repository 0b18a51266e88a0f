import pytest

from maya_bridge.text_side import SPECIAL_TOKENS, LLMTokenizer
from maya_bridge.tiny import character_tokenizer


@pytest.fixture
def tokenizer():
    return LLMTokenizer(character_tokenizer(" abcकखनमत"), "common")


def test_texts_of_two_scripts_share_ids_and_come_back_in_their_own(tokenizer):
    hindi, bengali = tokenizer.encode("नमक", "hi"), tokenizer.encode("নমক", "bn")

    assert hindi == bengali
    assert tokenizer.decode(hindi, "hi") == "नमक"
    assert tokenizer.decode(bengali, "bn") == "নমক"


def test_a_text_begins_with_a_space_and_an_empty_one_is_empty(tokenizer):
    assert tokenizer.encode("a b", "en") == tokenizer.encode_piece(" a b")
    assert tokenizer.encode("", "en") == []


def test_decoding_ends_at_eos_and_drops_special_tokens(tokenizer):
    ids = tokenizer.encode("ab", "en")

    assert tokenizer.decode([tokenizer.lang_id("en"), *ids, tokenizer.eos_id, *ids], "en") == "ab"


def test_special_tokens_in_a_text_are_not_commands(tokenizer):
    assert tokenizer.eos_id not in tokenizer.encode("a<eos>b", "en")


@pytest.mark.parametrize(
    "text", ["a<|hi|>b", "<pad>", "<unused7>", "b <image_soft_token>", "<<eos>", "<|ctx|>"]
)
def test_text_that_spells_a_token_of_the_llm_stays_text(text):
    hf = character_tokenizer(" abcdefghijklmnopqrstuvwxyz<>|/_7")
    hf.add_special_tokens({"additional_special_tokens": ["<|ctx|>"]})
    hf.add_tokens(["<unused7>", "<image_soft_token>"])
    commands = {hf.convert_tokens_to_ids(token) for token in ("<unused7>", "<image_soft_token>", "<|ctx|>")}
    tokenizer = LLMTokenizer(hf)

    ids = tokenizer.encode(text, "en")

    assert tokenizer.decode(ids, "en") == text
    assert not (set(ids) & (commands | {tokenizer.pad_id, tokenizer.eos_id, tokenizer.lang_id("hi")}))


def test_a_transcript_with_special_tokens_is_told_of_once(tokenizer, caplog):
    for _ in range(3):
        tokenizer.encode("a<|hi|>b", "en")
    tokenizer.encode("ab", "en")

    (told,) = caplog.messages
    assert told == "a text that spells a special token is read as plain characters, like 'a<|hi|>b'"


def test_random_text_ids_hold_no_special_token(tokenizer):
    special = {tokenizer.special_id(token) for token in SPECIAL_TOKENS} | {tokenizer.pad_id, tokenizer.eos_id}

    assert not special & set(tokenizer.text_ids.tolist())
    assert len(tokenizer.text_ids) == 9


def test_random_text_ids_all_have_an_embedding():
    assert LLMTokenizer(character_tokenizer("abc"), num_rows=19).text_ids.tolist() == [18]


def test_batch_is_padded_on_the_right(tokenizer):
    ids, lens = tokenizer.encode_batch(["a", "", "abc"], ["en"] * 3)

    assert lens.tolist() == [2, 0, 4]
    assert ids[0].tolist() == [*tokenizer.encode("a", "en"), tokenizer.pad_id, tokenizer.pad_id]


def test_unknown_language_is_named(tokenizer):
    with pytest.raises(ValueError, match=r"`lang` must be one of as bn en .*, got xx"):
        tokenizer.lang_token("xx")
