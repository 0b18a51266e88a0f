"""Drafts in the tokens of the real Gemma 3; runs where MAYA_GEMMA names its folder."""

import os

import pytest

from maya_bridge.decoding.draft import Draft
from maya_bridge.spare_tokens import with_special_tokens
from maya_bridge.text_side import LLMTokenizer

FOLDER = os.environ.get("MAYA_GEMMA")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="MAYA_GEMMA is not set")

TEXTS = {
    "en": "the train to the city leaves at seven every morning from the old station",
    "hi": "यह रेल हर सुबह सात बजे पुराने स्टेशन से शहर के लिए निकलती है",
    "or": "ଏହି ରେଳଗାଡ଼ି ପ୍ରତିଦିନ ସକାଳେ ପୁରୁଣା ଷ୍ଟେସନରୁ ସହରକୁ ଯାଏ",
    "ta": "இந்த ரயில் தினமும் காலை பழைய நிலையத்தில் இருந்து நகரத்திற்கு செல்கிறது",
}


@pytest.fixture(scope="module")
def tokenizer() -> LLMTokenizer:
    from transformers import AutoTokenizer

    return LLMTokenizer(with_special_tokens(AutoTokenizer.from_pretrained(FOLDER)), num_rows=262144)


def num_passes(text: str, draft: str, lang: str, tokenizer: LLMTokenizer) -> int:
    """Passes that an LLM needs which is always right."""
    truth, follower = tokenizer.encode(text, lang), Draft(draft, lang, tokenizer, 100)
    done = passes = 0
    while True:
        proposed = follower.propose(truth[:done]) or []
        passes += 1
        pairs = zip(proposed, truth[done:], strict=False)
        done += next((place for place, (own, real) in enumerate(pairs) if own != real), len(proposed))
        if done >= len(truth):
            return passes
        done += 1


@pytest.mark.parametrize("lang", TEXTS)
def test_a_right_draft_takes_one_pass(lang, tokenizer) -> None:
    assert num_passes(TEXTS[lang], TEXTS[lang], lang, tokenizer) == 1


@pytest.mark.parametrize("lang", TEXTS)
@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_wrong_a_missing_and_an_added_word_cost_few_passes(place, lang, tokenizer) -> None:
    words = TEXTS[lang].split()
    letter = words[place][:1] + words[place][2:]
    for draft in (
        [*words[:place], letter, *words[place + 1 :]],
        words[:place] + words[place + 1 :],
        [*words[:place], words[-1], *words[place:]],
    ):
        alone = len(tokenizer.encode(words[place], lang))
        assert num_passes(TEXTS[lang], " ".join(draft), lang, tokenizer) <= 3 + alone


def test_bytes_of_an_unfinished_letter_are_waited_for(tokenizer) -> None:
    text = "ଏହି ଡ଼ୱଞ ୱଡ଼"
    assert num_passes(text, "", "or", tokenizer) == len(tokenizer.encode(text, "or")) + 1
