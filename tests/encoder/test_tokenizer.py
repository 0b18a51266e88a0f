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


def test_one_model_serves_every_language_and_none(native_models):
    tokenizer = Tokenizer(native_models[:1])
    ids = tokenizer.encode("नमस्ते")
    assert ids == tokenizer.encode("नमस्ते", "hi")
    assert tokenizer.decode(ids) == "नमस्ते"
    assert tokenizer.lang_vocab() == {}
    every = list(range(tokenizer.vocab_size))
    assert tokenizer.lang_vocab(["ta", "hi"]) == {"ta": every, "hi": every}


def test_text_of_several_languages_is_read_without_naming_them(native_models):
    tokenizer = Tokenizer(native_models)
    hindi, bengali = tokenizer.encode("नमस्ते", "hi"), tokenizer.encode("আমি ভাত", "bn")
    assert tokenizer.decode([*hindi, *bengali, *hindi]) == "नमस्ते আমি ভাত नमस्ते"
    assert tokenizer.decode([*hindi, *bengali[1:]]) == "नमस्तेআমি ভাত"  # without the piece that is a space


def test_common_script_cannot_be_read_without_its_language(tokenizer):
    with pytest.raises(BadTokenizer, match="`lang` must be given: the common script"):
        tokenizer.decode(tokenizer.encode("hello"))


def test_language_is_asked_for_where_it_chooses_the_model(native_models):
    with pytest.raises(BadTokenizer, match="`lang` must be given: there is a model for each of hi, bn"):
        Tokenizer(native_models).encode("x")


def test_languages_have_the_ids_of_their_models_in_the_order_asked_for(native_models):
    tokenizer = Tokenizer(native_models)
    vocab = tokenizer.lang_vocab()
    assert [*vocab["hi"], *vocab["bn"]] == list(range(tokenizer.vocab_size))
    assert list(tokenizer.lang_vocab(["bn", "hi"])) == ["bn", "hi"]
    assert set(tokenizer.encode("আমি", "bn")) <= set(vocab["bn"])
    with pytest.raises(BadTokenizer, match="no tokenizer model for language 'ta'; there are: hi, bn"):
        tokenizer.lang_vocab(["ta"])


def test_unknown_pieces_can_be_marked_and_stay_so_when_saved(native_models, tmp_path):
    tokenizer = Tokenizer(native_models[:1], unknown="mark")
    ids = [*tokenizer.encode("नमस्ते"), 0]
    assert tokenizer.decode(ids) == "नमस्ते \u2047 "
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).decode(ids) == "नमस्ते \u2047 "
    with pytest.raises(BadTokenizer, match="`unknown` must be drop or mark, got 'keep'"):
        Tokenizer(native_models, unknown="keep")


def test_models_can_be_given_as_bytes(native_models):
    models = {"hi": native_models[0].read_bytes(), "bn": native_models[1].read_bytes()}
    assert Tokenizer(models).sha256 == Tokenizer(native_models).sha256
    assert Tokenizer(models).names == ["hi", "bn"]


@pytest.mark.parametrize("name", ["../hi", "a/b", "", ".hidden"])
def test_name_that_would_leave_the_folder_is_refused(native_models, name):
    with pytest.raises(BadTokenizer, match="a tokenizer model's name must be of letters, digits"):
        Tokenizer({name: native_models[0].read_bytes()})


def test_models_of_one_name_are_refused(native_models):
    with pytest.raises(BadTokenizer, match="tokenizer models must have different names, got hi, hi"):
        Tokenizer([native_models[0], native_models[0]])


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x0a\x03abc"])
def test_damaged_model_is_named(content):
    with pytest.raises(BadTokenizer, match="the tokenizer model 'hi' is damaged or no SentencePiece model"):
        Tokenizer({"hi": content})
