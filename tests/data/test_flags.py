import unicodedata

import numpy as np
import pyarrow as pa
import pytest

from maya_data.indexing.flags import BAD_DURATION, EMPTY_TEXT, UNKNOWN_LANG, WRONG_SCRIPT, flag, trainable
from maya_data.script import BLOCKS, LANGS


def _flags(text, lang, duration=1.0):
    rows = pa.table({"text": pa.array([text], pa.large_string()), "lang": [lang], "duration": [duration]})
    flags, chars = flag(rows)
    return int(flags[0]), int(chars[0])


@pytest.mark.parametrize(
    ("text", "lang", "flags"),
    [
        ("नमस्ते दुनिया", "hi", 0),
        ("नमस्ते दुनिया", "mr", 0),
        ("नमस्ते दुनिया", "ta", WRONG_SCRIPT),
        ("नमस्ते hello दुनिया", "hi", 0),
        ("hello and good evening नमस्ते", "hi", WRONG_SCRIPT),
        ("don't", "en", 0),
        ("café über", "en", 0),
        ("привет", "en", WRONG_SCRIPT),
        ("漢字", "en", WRONG_SCRIPT),
        ("\U00020001", "en", WRONG_SCRIPT),
        ("१२३ 45 ।", "ta", 0),
        ("", "ta", EMPTY_TEXT),
        ("\u3000\n ", "ta", EMPTY_TEXT),
        ("hello", "xx", UNKNOWN_LANG),
        ("নমস্কার", "as", 0),
    ],
)
def test_texts_are_flagged(text, lang, flags):
    assert _flags(text, lang) == (flags, len(text))


@pytest.mark.parametrize("duration", [0.0, -1.0, float("nan"), float("inf"), float("-inf")])
def test_impossible_durations_are_flagged(duration):
    assert _flags("hello", "en", duration)[0] == BAD_DURATION


def test_several_things_may_be_wrong_at_once():
    assert _flags("", "xx", -1)[0] == EMPTY_TEXT | UNKNOWN_LANG | BAD_DURATION


def test_another_script_does_not_forbid_training():
    flags = [0, WRONG_SCRIPT, EMPTY_TEXT, BAD_DURATION, UNKNOWN_LANG, WRONG_SCRIPT | EMPTY_TEXT]
    assert trainable(flags).tolist() == [True, True, False, False, False, False]


def test_long_texts_count_as_the_most_that_the_column_holds():
    assert _flags("a" * 70_000, "en") == (0, 65_535)


def test_no_rows_have_no_flags():
    empty = pa.table(
        {
            "text": pa.array([], pa.large_string()),
            "lang": pa.array([], pa.string()),
            "duration": pa.array([], pa.float64()),
        }
    )
    assert [len(column) for column in flag(empty)] == [0, 0]


def _slowly(text, lang):
    """The rule, a character at a time."""
    own = letters = 0
    for char in text:
        category, point = unicodedata.category(char)[0], ord(char)
        indic = any(block <= point < block + 0x80 for block in BLOCKS.values())
        if category == "L" or (category == "M" and indic):
            letters += 1
            if lang == "en":
                own += unicodedata.name(char, "").startswith("LATIN")
            else:
                own += BLOCKS[lang] <= point < BLOCKS[lang] + 0x80
    return WRONG_SCRIPT if own * 2 < letters else 0


@pytest.mark.parametrize("seed", range(5))
def test_a_table_is_flagged_as_its_rows_are_one_by_one(seed):
    rng = np.random.default_rng(seed)
    points = [*range(0x20, 0x250), *range(0x900, 0xD80), *range(0x4E00, 0x4E10), 0x200C, 0x1F600, 0x20001]
    texts = ["".join(map(chr, rng.choice(points, rng.integers(0, 12)))) for _ in range(300)]
    langs = rng.choice(LANGS, 300).tolist()
    rows = pa.table({"text": pa.array(texts, pa.large_string()), "lang": langs, "duration": np.ones(300)})
    flags, chars = flag(rows)
    empty = [0 if text.strip() else EMPTY_TEXT for text in texts]
    assert (flags & WRONG_SCRIPT).tolist() == [
        _slowly(text, lang) for text, lang in zip(texts, langs, strict=True)
    ]
    assert (flags & EMPTY_TEXT).tolist() == empty
    assert chars.tolist() == list(map(len, texts))
