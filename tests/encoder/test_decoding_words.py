"""Words with times, from tokens of tokenizers of several kinds."""

import io
import random

import pytest
import sentencepiece

from maya_encoder.decoding import DecodedTokens, words_of
from maya_encoder.decoding.text_ends import text_and_ends
from maya_encoder.decoding.words import Span, timed
from maya_encoder.tokenizer import Tokenizer

FRAME = 0.08


def decoded(tokens, frames, ends=None, confidences=None):
    ends = [frame + 1 for frame in frames] if ends is None else ends
    confidences = [0.5] * len(tokens) if confidences is None else confidences
    return DecodedTokens(tokens, frames, ends, [-0.7] * len(tokens), confidences, -1.0)


def trained(sentences, **settings):
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 10),
        model_writer=written,
        normalization_rule_name="identity",
        hard_vocab_limit=False,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
        **settings,
    )
    return Tokenizer({"asr": written.getvalue()})


@pytest.fixture(scope="module")
def with_bytes():
    """Letters that the model does not know are written as bytes."""
    return trained(["hello world", "low hell"], model_type="bpe", vocab_size=300, byte_fallback=True)


@pytest.fixture(scope="module")
def across_spaces():
    """Pieces may span several words."""
    texts = ["of the sea", "of the land", "of the sky", "of the"]
    return trained(texts, model_type="bpe", vocab_size=60, split_by_whitespace=False)


def test_words_begin_with_their_first_letter_and_end_with_their_last(tokenizer):
    pieces = {tokenizer.piece(n): n for n in range(tokenizer.vocab_size)}
    tokens = [pieces[letter] for letter in "\u2581o'clock\u2581hello"]
    frames = [3 * n for n in range(len(tokens))]
    sure = [0.1 if n in (0, 8) else 0.9 for n in range(len(tokens))]  # of the spaces
    sure[4], sure[9] = 0.2, 0.4
    clock, hello = words_of(decoded(tokens, frames, confidences=sure), tokenizer, "en", FRAME, 100.0)
    assert (clock.text, clock.start, clock.end) == ("o'clock", 3 * FRAME, pytest.approx(22 * FRAME))
    assert (hello.text, hello.start) == ("hello", pytest.approx(27 * FRAME))
    assert hello.end == pytest.approx((frames[-1] + 1) * FRAME)
    assert (clock.confidence, hello.confidence) == (0.2, 0.4)


@pytest.mark.parametrize(
    ("text", "lang"), [("नमस्ते दुनिया", "hi"), ("আমি ভাত খাই", "bn"), ("o'clock world", "en")]
)
def test_words_are_in_native_script_and_joined_they_are_the_text(tokenizer, text, lang):
    tokens = tokenizer.encode(text, lang)
    found = words_of(decoded(tokens, list(range(len(tokens)))), tokenizer, lang, FRAME, 10.0)
    assert " ".join(word.text for word in found) == text == tokenizer.decode(tokens, lang)


def test_letters_of_several_bytes_stay_whole(with_bytes):
    tokens = with_bytes.encode("hello नम low")
    assert any(with_bytes.piece(token).startswith("<0x") for token in tokens)
    text, ends = text_and_ends(tokens, with_bytes)
    assert text == "hello नम low"
    assert ends == sorted(ends)
    found = words_of(decoded(tokens, [2 * n for n in range(len(tokens))]), with_bytes, None, FRAME, 99.0)
    assert [word.text for word in found] == ["hello", "नम", "low"]
    byte = next(n for n, token in enumerate(tokens) if with_bytes.piece(token).startswith("<0x"))
    assert found[1].start == pytest.approx(2 * byte * FRAME)


def test_broken_bytes_are_no_error(with_bytes):
    tokens = with_bytes.encode("न")[:-1]
    found = words_of(decoded(tokens, list(range(len(tokens)))), with_bytes, None, FRAME, 9.0)
    assert " ".join(word.text for word in found) == with_bytes.decode(tokens).strip()


def test_a_token_of_several_words_lends_each_a_part_of_its_time(across_spaces):
    tokens = across_spaces.encode("of the sky")
    assert [across_spaces.piece(token) for token in tokens] == ["\u2581of\u2581the\u2581sky"]
    found = words_of(decoded(tokens, [5], [15]), across_spaces, None, FRAME, 99.0)  # ten letters, ten frames
    times = [(word.text, word.start / FRAME, word.end / FRAME) for word in found]
    assert times == [
        ("of", 5, pytest.approx(7)),
        ("the", pytest.approx(8), pytest.approx(11)),
        ("sky", pytest.approx(12), pytest.approx(15)),
    ]


def test_long_texts_read_as_short_ones(tokenizer):
    text = " ".join(random.Random(0).choices(["hello", "world", "o'clock", "o"], k=60))
    tokens = tokenizer.encode(text, "en")
    found, ends = text_and_ends(tokens, tokenizer, "en")
    assert found == text
    assert ends == [len(tokenizer.decode(tokens[: n + 1], "en")) for n in range(len(tokens))]


def test_long_texts_are_read_in_small_pieces(with_bytes):
    tokens = with_bytes.encode("hello नम low " * 20)

    class Counting:
        count = 0

        def decode(self, ids, lang):
            self.count += len(ids)
            return with_bytes.decode(ids, lang)

    counting = Counting()
    text_and_ends(tokens, counting)
    assert counting.count < 20 * len(tokens)


def test_several_tokenizer_models_in_one_text(native_models):
    both = Tokenizer(native_models)
    tokens = both.encode("दुनिया", "hi") + both.encode("ভাত", "bn")
    found = words_of(decoded(tokens, list(range(len(tokens)))), both, None, FRAME, 9.0)
    assert [word.text for word in found] == ["दुनिया", "ভাত"]


def test_no_tokens_are_no_words(tokenizer):
    assert words_of(DecodedTokens(), tokenizer, "en", FRAME, 1.0) == []


@pytest.mark.parametrize("seed", range(30))
def test_times_never_decrease_and_stay_in_the_audio(seed):
    draw = random.Random(seed)
    frames = sorted(draw.choices(range(20), k=draw.randrange(1, 12)))
    spans = [Span("w", frame, frame + draw.randrange(0, 5), 0.5) for frame in frames]
    duration = draw.choice([20 * FRAME, 19.3 * FRAME, 19 * FRAME, 0.5 * FRAME])
    found = timed(spans, FRAME, duration)
    times = [time for word in found for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= duration
    if duration > 19 * FRAME:
        assert all(word.start < word.end for word in found)


def test_words_behind_the_end_of_the_audio_still_have_time():
    first, second = timed([Span("a", 18, 19, 1.0), Span("b", 19, 20, 1.0)], FRAME, 19 * FRAME)
    assert 18 * FRAME == first.start < first.end <= second.start < second.end <= 19 * FRAME


def test_words_written_at_one_frame_share_it():
    first, second, third = timed(
        [Span("a", 4, 5, 1.0), Span("b", 4, 5, 1.0), Span("c", 6, 7, 1.0)], 1.0, 10.0
    )
    assert (first.start, first.end, second.start, second.end) == (4.0, 4.5, 4.5, 5.0)
    assert (third.start, third.end) == (6.0, 7.0)
