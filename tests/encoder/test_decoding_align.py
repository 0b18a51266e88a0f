"""Forced alignment through a whole model."""

import numpy as np
import pytest
import torch

import maya_encoder
from maya_encoder.decoding import align, decode, words_of
from maya_encoder.decoding.viterbi import DoesNotFit, ctc_viterbi


@pytest.fixture
def audio():
    return np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)


def frame_seconds(model):
    return model.frontend.hop * model.encoder.subsampling_factor / model.frontend.sampling_rate


@pytest.mark.parametrize(
    ("text", "lang"), [("o'clock hello world", "en"), ("आम नम", "hi"), ("আমি  ভাত", "bn")]
)
def test_the_words_given_come_back_in_order_with_times(model, audio, text, lang):
    found = align(model, audio, text, lang)
    assert [word.text for word in found] == text.split()
    times = [time for word in found for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= 1.5
    assert all(word.start < word.end and 0 <= word.confidence <= 1 for word in found)


@torch.no_grad()
def test_words_lie_on_the_best_path_through_the_ctc_head(plain_model, audio):
    text = "नमस्ते दुनिया"
    tokenizer = plain_model.tokenizer
    encoded = plain_model.encode(torch.from_numpy(audio)[None], torch.tensor([len(audio)]))
    (placed,) = ctc_viterbi(plain_model.heads["ctc"](encoded[0]), encoded[1], [tokenizer.encode(text)])
    assert align(plain_model, audio, text) == words_of(
        placed, tokenizer, None, frame_seconds(plain_model), 1.5
    )


@torch.no_grad()
def test_aligning_what_was_heard_gives_the_times_of_hearing_it(plain_model, audio):
    encoded = plain_model.encode(torch.from_numpy(audio)[None], torch.tensor([len(audio)]))
    (heard,) = decode(plain_model.heads["ctc"], *encoded)
    words = words_of(heard, plain_model.tokenizer, None, frame_seconds(plain_model), 1.5)
    text = " ".join(word.text for word in words)
    if plain_model.tokenizer.encode(text) == heard.tokens:  # an untrained model may write spaces oddly
        assert align(plain_model, audio, text) == words
    else:
        assert [word.text for word in align(plain_model, audio, text)] == text.split()


def test_no_words_for_an_empty_text(model, audio):
    assert align(model, audio, "", "hi") == align(model, audio, "  \n", "hi") == []


def test_a_text_too_long_for_the_audio_names_both_numbers(model):
    with pytest.raises(DoesNotFit, match=r"^the text needs \d\d\d frames or more, the audio has 10$"):
        align(model, np.zeros(6400, dtype=np.float32), "hello " * 40, "en")


def test_a_word_of_unknown_letters_lies_between_its_neighbours(plain_model, audio):
    before, unknown, after = align(plain_model, audio, "नम xyz दुनिया")
    assert unknown.text == "xyz"
    assert before.end <= unknown.start < unknown.end <= after.start
    assert unknown.confidence == 0


def test_alignment_needs_a_ctc_head(model, audio):
    del model.heads["ctc"]
    with pytest.raises(ValueError, match="alignment needs a head named ctc; this model has: rnnt"):
        align(model, audio, "hello", "en")


def test_an_unknown_language_is_named(model, audio):
    with pytest.raises(ValueError, match="'ta'"):
        align(model, audio, "hello", "ta")


def test_the_mode_of_the_model_does_not_matter_and_does_not_change(model, audio):
    model.train()
    first = align(model, audio, "hello", "en")
    assert model.training
    assert model.encoder.training
    assert align(model.eval(), audio, "hello", "en") == first


def test_it_is_public():
    assert maya_encoder.align is align
