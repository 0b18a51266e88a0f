import pytest

from maya_encoder.tokenizer import BadTokenizer, Tokenizer

TEXTS = [("नमस्ते दुनिया", "hi"), ("আমি ভাত খাই", "bn"), ("o'clock", "en"), ("", "hi")]


@pytest.mark.parametrize(("text", "lang"), TEXTS)
def test_common_script_round_trips_to_native_text(tokenizer, text, lang):
    assert tokenizer.decode(tokenizer.encode(text, lang), lang) == text
    assert tokenizer.round_trips(text, lang)


def test_same_sound_has_one_token_in_all_scripts(tokenizer):
    assert tokenizer.encode("म", "hi") == tokenizer.encode("ম", "bn")


def test_text_outside_the_vocabulary_does_not_round_trip(tokenizer):
    assert not tokenizer.round_trips("xyz", "en")


def test_unknown_pieces_are_dropped(tokenizer):
    assert tokenizer.decode([0, *tokenizer.encode("hello", "en"), 0], "en") == "hello"


def test_blank_is_refused_as_a_token(tokenizer):
    with pytest.raises(ValueError, match=f"must be below {tokenizer.vocab_size}.*got {tokenizer.blank_id}"):
        tokenizer.decode([tokenizer.blank_id], "en")


def test_saved_tokenizer_loads_as_it_was(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer")
    loaded = Tokenizer.load(tmp_path / "tokenizer")
    assert loaded.encode("আমি", "bn") == tokenizer.encode("আমি", "bn")
    assert (loaded.script, loaded.text, loaded.sha256) == ("common", "asr-v1", tokenizer.sha256)


def test_models_of_several_languages_share_one_id_space(native_models):
    tokenizer = Tokenizer(native_models)
    hindi, bengali = tokenizer.encode("नमस्ते", "hi"), tokenizer.encode("আমি", "bn")
    assert max(hindi) < min(bengali) < tokenizer.vocab_size
    assert tokenizer.decode(bengali, "bn") == "আমি"
    assert tokenizer.piece(bengali[1]) == "আ"
    with pytest.raises(BadTokenizer, match="no tokenizer model for language 'ta'; there are: hi, bn"):
        tokenizer.encode("x", "ta")


def test_folder_without_tokenizer_names_what_is_missing(tmp_path, tokenizer):
    with pytest.raises(BadTokenizer, match=r"tokenizer\.yaml is missing"):
        Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path)
    (tmp_path / "asr.model").unlink()
    with pytest.raises(BadTokenizer, match=r"asr\.model is missing"):
        Tokenizer.load(tmp_path)


def test_exchanged_model_file_is_noticed(tmp_path, tokenizer, native_models):
    tokenizer.save(tmp_path)
    (tmp_path / "asr.model").write_bytes(native_models[0].read_bytes())
    with pytest.raises(BadTokenizer, match=r"are not those that tokenizer\.yaml was written for"):
        Tokenizer.load(tmp_path)


def test_unknown_script_is_refused(common_model):
    with pytest.raises(BadTokenizer, match="`script` must be native or common, got 'latin'"):
        Tokenizer([common_model], script="latin")
