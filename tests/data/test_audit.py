import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from maya_data.audit import overlap, read_transcripts, repeated_ids, repeats
from maya_data.audit.characters import KINDS, characters, kinds, own_kind
from maya_data.audit.duplicates import repeated
from maya_data.audit.spoken import spoken
from maya_data.indexing.build import build_index
from maya_data.readers import SCHEMA, ShardRows

WORDS = {
    "as": "অসমীয়া", "bn": "বাংলা", "gu": "ગુજરાતી", "hi": "हिन्दी", "kn": "ಕನ್ನಡ", "ml": "മലയാളം",
    "mr": "मराठी", "or": "ଓଡ଼ିଆ", "pa": "ਪੰਜਾਬੀ", "ta": "தமிழ்", "te": "తెలుగు", "en": "English",
}  # fmt: skip


class Texts:
    """A reader of made transcripts of one second each."""

    root, text = ".", "asr-v1"

    def __init__(self, pairs, ids=None):
        self.pairs, self.ids = pairs, ids

    def shards(self):
        return ["all"]

    def read_shard(self, shard):
        plain = {"shard": "a.tar", "offset": 512, "size": 9, "num_samples": 16000, "sampling_rate": 16000}
        plain |= {"duration": 1.0, "corpus": "", "speaker": "", "domain": "", "start": 0}
        names = self.ids or [f"id{number}" for number in range(len(self.pairs))]
        rows = [
            plain | {"id": name, "text": text, "lang": lang}
            for name, (text, lang) in zip(names, self.pairs, strict=True)
        ]
        return ShardRows(pa.Table.from_pylist(rows, schema=SCHEMA), Counter())


@pytest.fixture
def made(tmp_path):
    def make(pairs, ids=None):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return build_index(Texts(pairs, ids), folder)

    return make


def _keys(*texts):
    composed = [unicodedata.normalize("NFC", text) for text in texts]
    return spoken(characters(pa.array(composed, pa.large_string())))


@pytest.mark.parametrize("lang", WORDS)
def test_letters_of_a_language_are_of_its_own_kind(lang):
    found = set(kinds(characters(pa.array([WORDS[lang]])).points).tolist())
    assert found == {own_kind(lang)}
    assert KINDS[own_kind(lang)] not in ("other", "other script")


AUDITED = {
    "wrong_script": ("நமஸ்தே", "hi"),
    "mixed_script": ("नमस्ते hello दुनिया", "hi"),
    "latin": ("नमस्ते ok दुनिया", "hi"),
    "ascii_digits": ("कमरा 12", "hi"),
    "native_digits": ("कमरा १२", "hi"),
    "joiners": ("क्\u200dष", "hi"),
    "control": ("एक\tदो", "hi"),
    "not_nfc": ("\u0958", "hi"),
    "empty": ("  ", "hi"),
}


@pytest.mark.parametrize("problem", AUDITED)
def test_each_problem_is_counted_with_the_id_of_its_segment(made, problem):
    (row,) = read_transcripts(made([("सही पाठ", "hi"), AUDITED[problem], ("और एक", "hi")])).charset
    assert (row.texts, getattr(row, problem)) == (3, 1)
    assert row.examples[problem] == ["id1"]


def test_good_texts_of_all_languages_have_no_problem(made):
    charset = read_transcripts(made([(word, lang) for lang, word in WORDS.items()])).charset
    for row in charset:
        assert not row.examples, row
        assert sum(row.scripts.values()) == pytest.approx(1)


def test_rare_characters_and_the_number_of_different_ones(made):
    (row,) = read_transcripts(made([("aab", "en"), ("aba", "en"), ("ax", "en")])).charset
    assert row.distinct == 3
    assert list(row.rare.items()) == [("x", 1), ("b", 2), ("a", 5)]


def test_case_punctuation_and_joiners_do_not_make_another_text():
    keys, words = _keys(
        "Don't stop", "don t  STOP!", " don't stop.", "\u200cdon't sto\u200dp", "don't stops", "dont stop"
    )
    assert len(set(keys[:4].tolist())) == 1
    assert len(set(keys.tolist())) == 3
    assert words.tolist() == [3, 3, 3, 3, 3, 2]


def test_where_words_begin_and_the_order_of_letters_count():
    keys, _ = _keys("ice cream", "icecream", "i cecream", "cream ice", "", "...", "ab", "ba", "aab", "abb")
    assert len(set(keys.tolist())) == 9  # the two without a word are the same


def test_composed_and_decomposed_letters_are_the_same_text():
    keys, _ = _keys("\u0915\u093c", "\u0958", "caf\u00e9", "cafe\u0301")
    assert keys[0] == keys[1]
    assert keys[2] == keys[3]


def test_keys_do_not_depend_on_the_neighbours():
    texts = ["one two", " three", "", "नमस्ते दुनिया", "four\u200d", "!"]
    alone = np.concatenate([_keys(text).keys for text in texts])
    assert _keys(*texts).keys.tolist() == alone.tolist()


def test_keys_of_many_texts_are_distinct():
    keys, _ = _keys(*(f"w{a} v{b}" for a in range(200) for b in range(200)))
    assert len(np.unique(keys)) == 40_000


def test_repeats_count_what_is_beyond_the_first(made):
    index = made([("one", "en"), ("two", "en"), ("One!", "en"), ("", "en"), ("", "en"), ("one", "en")])
    found = repeats(index, read_transcripts(index))
    assert (found.texts, found.repeated_texts, found.segments) == (2, 1, 2)
    assert found.hours == pytest.approx(2 / 3600)
    assert found.most == [{"text": "one", "lang": "en", "segments": 3}]


def test_ids_met_twice_are_found_with_the_first_row(made):
    index = made([("a", "en")] * 5, ids=["x", "y", "x", "z", "x"])
    assert repeated_ids(index) == [(2, 0), (4, 0)]
    assert repeats(index, read_transcripts(index)).id_examples == ["x"]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_repeated_keys_do_not_depend_on_how_many_are_sorted_at_a_time(size, monkeypatch):
    monkeypatch.setattr("maya_data.audit.duplicates.PASS", size)
    rng = np.random.default_rng(0)
    for _ in range(20):
        keys = rng.integers(0, 40, 60).astype(np.uint64)
        names, counts = repeated(keys)
        expected = {key: n for key, n in Counter(keys.tolist()).items() if n > 1}
        assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == expected
        assert len(names) == len(expected)


def test_overlap_tells_texts_segments_and_languages(made):
    ours = made(
        [("A test sentence, here", "en"), ("hello", "en"), ("नमस्ते", "hi"), ("mine", "en"), ("", "en")]
    )
    theirs = made(
        [("a test sentence here", "en"), ("Hello", "en"), ("नमस्ते", "hi"), ("other", "en"), ("", "en")]
    )
    found = overlap(ours, read_transcripts(ours), theirs)
    assert (found.texts, found.segments, found.long_segments) == (3, 3, 1)
    assert (found.other_segments, found.other_share) == (3, pytest.approx(3 / 5))
    assert found.langs == {"en": 2, "hi": 1}
    assert found.examples[0] == {"id": "id0", "text": "A test sentence, here"}
    assert found.fingerprint == theirs.fingerprint


def test_no_overlap_is_zero(made):
    ours, theirs = made([("mine", "en")]), made([("theirs", "en")])
    found = overlap(ours, read_transcripts(ours), theirs)
    assert (found.texts, found.segments, found.examples) == (0, 0, [])
