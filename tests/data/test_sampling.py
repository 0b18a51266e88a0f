from collections import Counter

import pyarrow as pa
import pytest

from maya_data.indexing.build import build_index
from maya_data.readers import SCHEMA, ShardRows
from maya_data.sampling import sample_texts


class Rows:
    """A reader of made rows."""

    root, text = ".", "asr-v1"

    def __init__(self, rows):
        self.rows = rows

    def shards(self):
        return ["all"]

    def read_shard(self, shard):
        plain = {"shard": "a.tar", "offset": 512, "size": 9, "num_samples": 16000, "sampling_rate": 16000}
        plain |= {"duration": 1.0, "corpus": "", "speaker": "", "domain": "", "start": 0}
        rows = [plain | row | {"id": str(number)} for number, row in enumerate(self.rows)]
        return ShardRows(pa.Table.from_pylist(rows, schema=SCHEMA), Counter())


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """English has 900 texts, Hindi 100; two of each cannot be trained on."""
    rows = [{"text": f"text {number}", "lang": "en"} for number in range(900)]
    rows += [{"text": f"पाठ {number}", "lang": "hi"} for number in range(100)]
    rows[5] |= {"text": " "}
    rows[6] |= {"duration": 0.0}
    rows[905] |= {"text": "Latin letters"}
    rows[906] |= {"duration": -1.0}
    return build_index(Rows(rows), tmp_path_factory.mktemp("uneven"))


def test_every_language_has_as_many_texts_and_none_twice(uneven):
    texts = list(sample_texts(uneven, 60))
    assert Counter(lang for _, lang in texts) == {"en": 60, "hi": 60}
    assert len(set(texts)) == 120


def test_what_cannot_be_trained_on_is_left_out(uneven):
    texts = list(sample_texts(uneven, 10_000))
    assert Counter(lang for _, lang in texts) == {"en": 898, "hi": 98}
    assert not {" ", "Latin letters", "text 6", "पाठ 6"} & {text for text, _ in texts}


def test_all_texts_stand_in_the_order_of_the_index(uneven):
    texts = list(sample_texts(uneven, 10_000))
    kept = set(texts)
    assert texts == [pair for pair in uneven.texts() if pair in kept]


def test_a_small_language_is_repeated_up_to_the_cap(uneven):
    assert Counter(lang for _, lang in sample_texts(uneven, 500, max_repeats=8)) == {"en": 500, "hi": 500}
    capped = list(sample_texts(uneven, 500, max_repeats=3))
    assert Counter(lang for _, lang in capped) == {"en": 500, "hi": 3 * 98}
    assert max(Counter(capped).values()) == 3


def test_the_seed_chooses(uneven):
    first, again, other = (list(sample_texts(uneven, 50, seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_rows_from_all_over_the_index_are_taken(uneven):
    numbers = [int(text.split()[1]) for text, lang in sample_texts(uneven, 300) if lang == "en"]
    assert all(60 < sum(low <= number < low + 300 for number in numbers) < 140 for low in (0, 300, 600))


@pytest.mark.parametrize("settings", [(0, 1.0), (5, 0.5)])
def test_numbers_out_of_range_are_named(uneven, settings):
    per_lang, repeats = settings
    with pytest.raises(ValueError, match=f"must be 1 or more, got {per_lang} and {repeats}"):
        list(sample_texts(uneven, per_lang, max_repeats=repeats))
