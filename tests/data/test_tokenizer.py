import hashlib

import pytest
import sentencepiece
from omegaconf import OmegaConf

from maya_data.script import unfold
from maya_data.tokenizer import train_tokenizer

TEXTS = [("नमस्ते दुनिया", "hi"), ("ভালো আছি", "bn"), ("don't stop", "en"), ("வணக்கம்", "ta")] * 4


def _load(folder):
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "asr.model"))


@pytest.mark.parametrize("model_type", ["char", "unigram", "bpe"])
def test_common_script_texts_come_back_exactly(tmp_path, model_type):
    report = train_tokenizer(TEXTS, tmp_path, model_type=model_type, vocab_size=60, script="common")
    model = _load(tmp_path)
    assert report.vocab_size == model.vocab_size()
    assert not report.refused
    for text, lang in TEXTS[:4]:
        assert unfold(model.decode(model.encode(text)), lang) == text


def test_folding_happens_inside_the_model_and_shares_characters(tmp_path):
    native = train_tokenizer(TEXTS, tmp_path / "native", model_type="char", script="native")
    common = train_tokenizer(TEXTS, tmp_path, model_type="char", script="common")
    assert common.vocab_size < native.vocab_size
    assert _load(tmp_path).encode("ক") == _load(tmp_path).encode("क")


def test_the_same_texts_give_the_same_bytes(tmp_path):
    for name in ("once", "again"):
        train_tokenizer(TEXTS, tmp_path / name, model_type="char", script="common")
    assert (tmp_path / "once/asr.model").read_bytes() == (tmp_path / "again/asr.model").read_bytes()


def test_yaml_says_what_the_model_is(tmp_path):
    report = train_tokenizer(TEXTS, tmp_path, model_type="char", script="common")
    digest = hashlib.sha256((tmp_path / "asr.model").read_bytes()).hexdigest()
    assert OmegaConf.to_container(OmegaConf.load(tmp_path / "tokenizer.yaml")) == {
        "models": ["asr"],
        "script": "common",
        "text": "asr-v1",
        "vocab_size": report.vocab_size,
        "sha256": digest,
    }


def test_unknown_is_piece_zero_and_there_are_no_other_specials(tmp_path):
    train_tokenizer(TEXTS, tmp_path, model_type="char")
    model = _load(tmp_path)
    assert (model.unk_id(), model.bos_id(), model.eos_id(), model.pad_id()) == (0, -1, -1, -1)


def test_a_text_in_a_foreign_block_is_refused_and_counted(tmp_path):
    report = train_tokenizer([*TEXTS, ("নমস্কার", "hi")], tmp_path, model_type="char", script="common")
    assert report.refused == {"hi": 1}
    assert report.examples == ["hi: নমস্কার"]


def test_texts_are_spelled_by_the_profile_first(tmp_path):
    report = train_tokenizer([("STOP, now!", "en")], tmp_path, model_type="char")
    assert report.characters["en"] == len("stop now")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "word"}, "`model_type` must be unigram, bpe or char, got 'word'"),
        ({"script": "latin"}, "`script` must be native or common, got 'latin'"),
        ({"vocab_size": 1}, "`vocab_size` must be 2 or more, got 1"),
        ({"vocab_size": 3, "model_type": "char"}, "leaves no text that comes back"),
        ({"vocab_size": 3, "model_type": "bpe"}, "bpe model of 3 pieces cannot be made"),
    ],
)
def test_impossible_settings_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train_tokenizer(TEXTS, tmp_path, **options)


def test_nothing_to_train_on_is_named(tmp_path):
    with pytest.raises(ValueError, match="no text to train the tokenizer on"):
        train_tokenizer([], tmp_path)


def test_rare_characters_get_no_piece_and_are_counted(tmp_path):
    texts = [("the quick brown fox jumps over the lazy dog", "en")] * 300 + [("the ж dog", "en")]
    report = train_tokenizer(texts, tmp_path, model_type="bpe", vocab_size=60, character_coverage=0.999)
    assert report.refused == {"en": 1}
    characters = sum(len(text) for text, _ in texts)
    assert report.coverage("en") == pytest.approx(1 - 1 / characters)
    assert 0.999 < report.coverage("en") < 1


def test_fertility_is_pieces_a_word(tmp_path):
    report = train_tokenizer([("ab cd ab", "en")] * 4, tmp_path, model_type="char")
    assert report.fertility("en") == pytest.approx(9 / 3)  # each word with the mark before it
    assert report.fertility("ta") == 0
    assert report.coverage("en") == 1


def test_no_piece_has_two_scripts(tmp_path):
    texts = [("abनमabनम abनम", "hi")] * 50
    train_tokenizer(texts, tmp_path, model_type="bpe", vocab_size=200)
    model = _load(tmp_path)
    pieces = [model.id_to_piece(number) for number in range(model.vocab_size())]
    assert not [piece for piece in pieces if set(piece) & set("ab") and set(piece) & set("नम")]
