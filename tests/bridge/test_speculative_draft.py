"""What a draft proposes: the place in it is found again, and only tokens that fit are proposed."""

import pytest

from maya_bridge.decoding.draft import Draft
from maya_bridge.decoding.resync import Resync, prefix_distances, unlikeness
from maya_bridge.decoding.speculative import MAX_DOUBT
from maya_bridge.text_side import LLMTokenizer
from maya_bridge.tiny import character_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> LLMTokenizer:
    return LLMTokenizer(character_tokenizer("abcdefghijklmnopqrstuvwxyz "))


def first(draft: str, whole: str, begun: str) -> str:
    resync = Resync(draft)
    resync.read(whole.split())
    return resync.continuations(begun)[0]


@pytest.mark.parametrize(
    ("draft", "whole", "begun", "rest"),
    [
        ("one two three", "", "one", " two three"),
        ("one twx three", "one", "two", " three"),  # another letter
        (
            "one three four",
            "one",
            "two",
            " four",
        ),  # nothing alike: taken for another word, though it is missing ...
        ("one three four", "one two", "three", " four"),  # ... and is found again one word later
        ("one um two three", "one", "two", " three"),  # the draft has a word too many
        ("one katalog three", "one", "ca", "talog three"),
        ("one two", "one", "tw", "o"),
        ("one two", "one two", "three", ""),
        ("a b a b a b c", "a b a b", "a", " b c"),  # by what came before, not by the word alone
        ("one two three", "one", "", "two three"),
        ("", "", "one", ""),
        ("", "one", "", ""),
    ],
)
def test_the_draft_goes_on_where_the_text_is(draft, whole, begun, rest) -> None:
    resync = Resync(draft)
    resync.read(whole.split())
    assert rest in resync.continuations(begun)[:2]


@pytest.mark.parametrize("draft", ["one twx three four", "one um two three four", "one too three four"])
def test_the_likeliest_continuation_comes_first(draft) -> None:
    assert first(draft, "one", "two") == " three four"


def test_reading_word_by_word_is_reading_at_once() -> None:
    slowly, at_once = Resync("the big cat sat on a mat"), Resync("the big cat sat on a mat")
    words = ["the", "cat", "sats", "on", "on", "a", "mat"]
    for count in range(len(words)):
        slowly.read(words[:count])
    at_once.read(words[:-1])
    assert slowly.continuations("mat") == at_once.continuations("mat")


def test_unlikeness_is_the_share_outside_of_a_common_beginning_and_end() -> None:
    assert unlikeness("same", "same") == 0.0
    assert unlikeness("abcd", "abxd") == pytest.approx(0.25)
    assert unlikeness("abcd", "abcxd") == pytest.approx(0.2)
    assert unlikeness("aa", "aaa") == pytest.approx(1 / 3)
    assert unlikeness("ab", "xyz") == 1.0


def test_distances_to_each_beginning_of_a_word() -> None:
    assert prefix_distances("ca", "katz") == [2, 2, 1, 2, 3]
    assert prefix_distances("", "ab") == [0, 1, 2]
    assert prefix_distances("ab", "") == [2]


def test_the_whole_draft_is_proposed_first(tokenizer) -> None:
    draft = Draft("  one   two ", "en", tokenizer, 10)
    assert draft.propose([]) == tokenizer.encode("one two", "en")
    assert Draft("a b c d", "en", tokenizer, 2).propose([]) == tokenizer.encode("a b", "en")


def test_proposals_are_the_tokens_that_follow(tokenizer) -> None:
    draft = Draft("one twx three", "en", tokenizer, 10)
    ids = tokenizer.encode("one two", "en")
    assert draft.propose(ids) == tokenizer.encode("one two three", "en")[len(ids) :]
    spaced = tokenizer.encode("one two", "en") + tokenizer.encode_piece(" ")
    assert tokenizer.decode(draft.propose(spaced), "en") == "three"


def test_an_empty_draft_and_one_at_its_end_propose_nothing(tokenizer) -> None:
    assert Draft("", "en", tokenizer, 10).propose([]) == []
    assert Draft("", "en", tokenizer, 10).propose(tokenizer.encode("one", "en")) == []
    assert Draft("one", "en", tokenizer, 10).propose(tokenizer.encode("one", "en")) == []


def test_texts_in_the_common_script_are_proposed_in_it() -> None:
    folded = LLMTokenizer(character_tokenizer("\u0915\u0916\u0917\u0918 "), "common")
    text = "\u0c15\u0c16 \u0c17\u0c18"  # Telugu letters of the same places
    ids = folded.encode(text, "te")
    assert Draft(text, "te", folded, 10).propose(ids[:2]) == ids[2:]


@pytest.mark.parametrize(
    ("draft", "text", "doubted"),
    [
        ("one two three", "one two", False),
        ("one twx three", "one two", False),  # a letter alone is wrong
        ("one um two three", "one two", False),
        ("one ab three", "one xyz", True),  # another word, or one that the draft lacks
        ("one", "one xyz", True),
    ],
)
def test_a_word_that_the_draft_does_not_have_there_is_doubted(draft, text, doubted, tokenizer) -> None:
    follower = Draft(draft, "en", tokenizer, 10)
    follower.propose(tokenizer.encode(text, "en"))
    assert (follower.doubt > MAX_DOUBT) == doubted
