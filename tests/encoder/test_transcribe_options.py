import pytest

from maya_encoder.decoding import DecodingOptions
from maya_encoder.tokenizer import Tokenizer
from maya_encoder.transcribe_options import settings_of


@pytest.fixture
def plain(native_models):
    return Tokenizer(native_models[:1])


def test_greedy_is_the_default(plain):
    settings = settings_of({}, plain, None)
    assert settings.decoding == DecodingOptions()
    assert (settings.chunk_duration, settings.attention_context) == (None, None)


def test_one_sequence_is_greedy_and_more_are_a_beam(plain):
    assert settings_of({"beam": 1}, plain, None).decoding.strategy == "greedy"
    assert settings_of({"beam": 8}, plain, None).decoding.beam_size == 8


def test_phrases_are_for_a_beam_of_four(plain):
    found = settings_of({"phrases": ["दुनिया"]}, plain, None).decoding
    assert (found.strategy, found.beam_size) == ("beam", 4)
    assert found.boost is not None


def test_phrases_are_spelled_for_each_language_that_can_write_them(native_models):
    tokenizer = Tokenizer(native_models)
    boost = settings_of({"phrases": {"আমি": 2.0, "दु": 1.0}}, tokenizer, ["hi", "bn"]).decoding.boost
    assert boost.num_tokens == tokenizer.vocab_size
    with pytest.raises(ValueError, match="`phrases` must be of characters that the model writes, got 'xyz'"):
        settings_of({"phrases": ["xyz"]}, tokenizer, ["hi", "bn"])


def test_language_model_comes_from_a_file(plain, tmp_path):
    (tmp_path / "lm.arpa").write_text(
        "\\data\\\nngram 1=4\n\n\\1-grams:\n-1 <s>\n-1 </s>\n-1 <unk>\n-1 दुनिया\n\n\\end\\\n"
    )
    found = settings_of({"lm": tmp_path / "lm.arpa", "lm_weight": 0.7}, plain, None).decoding
    assert found.lm is not None
    assert (found.lm_weight, found.beam_size) == (0.7, 4)


def test_options_of_the_search_may_be_given_whole(plain):
    whole = DecodingOptions(strategy="beam", beam_size=2)
    assert settings_of({"decoding": whole}, plain, None).decoding is whole


def test_overlap_is_a_quarter_of_a_chunk_and_at_most_four_seconds(plain):
    assert settings_of({"chunk_duration": 8}, plain, None).overlap == 2
    assert settings_of({"chunk_duration": 60}, plain, None).overlap == 4
    assert settings_of({"chunk_duration": 60, "overlap": 0}, plain, None).overlap == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0}, "`beam_size` must be 1 or more, got 0"),
        ({"lm_weight": 0.5}, "`lm_weight` has no effect without `lm`"),
        ({"phrase_bonus": 2.0}, "`phrase_bonus` has no effect without `phrases`"),
        ({"phrases": "one"}, "`phrases` must be a list of phrases, got the string 'one'"),
        ({"decoding": DecodingOptions(), "beam": 4}, "`beam` must be a field of `decoding`"),
        ({"chunk_duration": 0}, "`chunk_duration` must be seconds above 0, got 0"),
        (
            {"chunk_duration": 10, "overlap": 6},
            "`overlap` must be from 0 to half of `chunk_duration` 10, got 6",
        ),
        ({"overlap": 1}, "`overlap` needs a `chunk_duration`, got 1 without one"),
        ({"attention_context": (3,)}, r"`attention_context` must be frames .*, got \(3,\)"),
        ({"attention_context": (-1, 3)}, r"`attention_context` must be frames .*, got \(-1, 3\)"),
    ],
)
def test_values_out_of_range_are_refused(plain, options, message):
    with pytest.raises(ValueError, match=message):
        settings_of(options, plain, None)


def test_unknown_keyword_is_named_with_the_nearest(plain):
    with pytest.raises(TypeError, match="`transcribe` has no keyword `beem`; did you mean `beam`"):
        settings_of({"beem": 4}, plain, None)
