from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import sentencepiece

from maya_data.indexing import tokens
from maya_data.indexing.build import build_index
from maya_data.indexing.segments import open_index
from maya_data.indexing.tokens import count_tokens, tokenizer_hash
from maya_data.text import profile
from maya_data.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def model(index, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(index.texts(), folder, vocab_size=60, model_type="char")
    return next(folder.glob("*.model"))


@pytest.fixture
def small(shelf, tmp_path):
    rows = [{"text": "[laughs] don't  stop" * (n % 7)} for n in range(100)]
    return build_index(shelf(a=rows[:30], b=rows[30:]), tmp_path / "index")


def test_counts_are_those_of_the_normalised_text(small, model):
    found = small.token_counts(count_tokens(small, model))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    normalize = profile(small.text_profile).normalize
    assert found.tolist() == [len(processor.encode(normalize(row.text, row.lang))) for row in small]
    assert found.dtype == np.uint16
    assert found[1] == 1 + len("don't stop")


def test_the_column_is_keyed_by_the_tokenizer_and_made_once(small, model, monkeypatch):
    key = count_tokens(small, model)
    assert (small.path / f"tokens-{key}.npy").is_file()
    assert key == tokenizer_hash(model) == tokenizer_hash(model.parent)
    monkeypatch.setattr(tokens, "_counted", lambda *_: pytest.fail("counted again"))
    assert count_tokens(small, model.parent) == key
    assert small.token_counts("0" * 16) is None


def test_any_executor_counts_the_same(small, model, monkeypatch):
    monkeypatch.setattr(tokens, "ROWS_A_TASK", 16)
    monkeypatch.setattr(tokens, "ROWS_ENCODED", 7)
    monkeypatch.setattr(tokens, "TASKS_AT_ONCE", 2)
    with ThreadPoolExecutor(2) as threads:
        many = small.token_counts(count_tokens(small, model, threads)).tolist()
    (small.path / f"tokens-{tokenizer_hash(model)}.json").unlink()
    monkeypatch.undo()
    assert small.token_counts(count_tokens(small, model)).tolist() == many


def test_counts_of_an_index_that_has_grown_do_not_hold(shelf, tmp_path, model):
    small = build_index(shelf(a=[{}]), tmp_path)
    key = count_tokens(small, model)
    grown = build_index(shelf(a=[{}, {}]), tmp_path)
    assert grown.token_counts(key) is None
    assert len(grown.token_counts(count_tokens(grown, model))) == 2


def test_counts_of_other_texts_do_not_hold(shelf, tmp_path, model):
    key = count_tokens(build_index(shelf(a=[{"text": "one"}]), tmp_path), model)
    changed = build_index(shelf(a=[{"text": "three"}]), tmp_path)
    assert changed.token_counts(key) is None


def test_damaged_counts_are_made_again(small, model):
    key = count_tokens(small, model)
    (small.path / f"tokens-{key}.npy").write_bytes(b"")
    assert open_index(small.path).token_counts(key) is None
    assert len(small.token_counts(count_tokens(small, model))) == 100


def test_very_long_texts_count_as_the_most_that_the_column_holds(shelf, tmp_path, model):
    made = build_index(shelf(a=[{"text": "stop" * 20_000}]), tmp_path)
    assert made.token_counts(count_tokens(made, model)).tolist() == [65_535]


def test_a_missing_model_is_named(small, tmp_path):
    with pytest.raises(ValueError, match=r"there is no SentencePiece model .*nowhere.model"):
        count_tokens(small, tmp_path / "nowhere.model")
    with pytest.raises(ValueError, match="must hold one SentencePiece model, it has 0"):
        count_tokens(small, tmp_path)
