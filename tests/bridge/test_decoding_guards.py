import random

import pytest
import torch

from maya_bridge.decoding.guards import (
    LoopGuard,
    character_error_rate,
    cut_loop,
    doubt_of,
    edit_distance,
    leaked,
    near_hotwords,
    tail_loop,
    times_in_a_row,
)
from maya_bridge.decoding.options import DecodeOptions, SpeculativeOptions
from maya_bridge.decoding.result import Decoded
from maya_bridge.decoding.script_mask import allowed_in_batch, allowed_tokens, in_script
from maya_bridge.llm import LLMConfig, make_tiny_llm


@pytest.fixture(scope="module")
def tokenizer():
    letters = "\u0915\u0916\u0917 abc,\u00e9\u0995\u0b95\u0964\u20b9\u200d"
    return make_tiny_llm(list(letters), LLMConfig(source="tiny", hidden_size=16, num_heads=2))[1]


@pytest.mark.parametrize(
    ("items", "found"),
    [("", (0, 1)), ("a", (0, 1)), ("ab", (0, 1)), ("xaa", (1, 2)), ("xababab", (2, 3)), ("aaaa", (1, 4))],
)
def test_a_loop_at_the_end_is_measured(items, found) -> None:
    assert tail_loop(list(items)) == found


def test_units_of_up_to_eight_tokens_loop() -> None:
    unit = list(range(8))
    assert tail_loop([99, *unit * 4]) == (8, 4)
    assert tail_loop([*range(9)] * 4) == (0, 1)
    assert cut_loop([99, *unit * 4]) == [99, *unit]


def test_repeats_are_counted_without_spaces() -> None:
    assert times_in_a_row("ha", "so ha ha haha") == 4
    assert times_in_a_row("no", "yes") == 0
    assert times_in_a_row(" ", "yes") == 0


def test_what_the_ctc_text_repeats_too_is_no_loop(tokenizer) -> None:
    ids = tokenizer.encode_piece(" \u0915\u0916" * 4)
    texts = ["\u0917 \u0915\u0916", "\u0915\u0916 \u0915\u0916 \u0915\u0916", "\u0915\u0916 " * 4]
    guard = LoopGuard(tokenizer, ["hi"] * 3, texts)
    assert [guard.stops(row, ids) for row in range(3)] == [True, False, False]
    assert guard.stops(1, ids * 2)
    assert not guard.stops(0, ids[:-3])
    assert guard.loops(0, "\u0917 " + "\u0915\u0916 \u0916 " * 4 + "\u0917")
    alone = LoopGuard(tokenizer, ["hi"], None)
    assert not alone.stops(0, ids)
    assert alone.stops(0, ids * 4)


def test_the_edit_distance_is_that_of_the_plain_recursion() -> None:
    def plain(a: str, b: str) -> int:
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            last, row = row, [i]
            for j, y in enumerate(b, 1):
                row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y)))
        return row[-1]

    draw = random.Random(0)
    for _ in range(100):
        a, b = ("".join(draw.choices("abc", k=draw.randrange(9))) for _ in range(2))
        assert edit_distance(a, b) == plain(a, b)


def test_a_text_far_from_the_ctc_text_is_doubted() -> None:
    options = DecodeOptions(lang_cer_thresholds={"ta": 0.1})

    def doubt(text, ctc, lang="hi", score=-1.0):
        return doubt_of(Decoded([1, 2, 3], text, score=score), ctc, lang, options)

    assert doubt("hello there", "hello their") is None
    assert doubt("thanks for watching", "a b") == "hallucination"
    assert doubt("", "a long sentence") == "hallucination"
    assert doubt("hello there", "hello their", "ta") == "hallucination"
    assert doubt("hello there", None) is None
    assert doubt("hello there", "hello there", score=-40.0) == "hallucination"
    assert doubt("a", "b") is None
    assert character_error_rate("a b", "ab") == 0


def test_hotwords_are_chosen_by_what_was_heard_and_a_recital_is_seen() -> None:
    words = ["Chennai", "New Delhi", "Gemma", "zebra"]
    assert near_hotwords(words, "he went to new delhy and chenai", 5) == ["Chennai", "New Delhi"]
    assert near_hotwords(words, "he went to new delhy and chenai", 1) == ["Chennai"]
    assert near_hotwords(words, "", 5) == []
    assert leaked("Chennai New Delhi Gemma", words, "mm")
    assert not leaked("he met Gemma in New Delhi", words, "he met gema")
    assert not leaked("New Delhi Gemma", words, "New Delhi Gemma")


def test_native_script_lets_the_language_ascii_and_punctuation_pass(tokenizer) -> None:
    def writable(lang: str) -> str:
        return "".join(tokenizer.hf.convert_ids_to_tokens(allowed_tokens(tokenizer, lang).nonzero()[:, 0]))

    assert writable("hi") == "<eos>\u0915\u0916\u0917 abc,\u0964\u20b9\u200d"
    assert writable("bn") == "<eos> abc,\u0995\u0964\u20b9\u200d"
    assert writable("en") == "<eos> abc,\u0964\u20b9\u200d"
    assert in_script("\u0915 \u0b95 abc \u00e9!", "hi") == "\u0915 abc !"
    with pytest.raises(ValueError, match="`lang` must be one of"):
        allowed_tokens(tokenizer, "fr")


def test_a_batch_has_a_mask_for_each_row_and_outputs_without_tokens_are_closed(tokenizer) -> None:
    size = len(allowed_tokens(tokenizer, "hi"))
    mask = allowed_in_batch(tokenizer, ["hi", "bn"], size + 5)
    assert torch.equal(mask[1, :size], allowed_tokens(tokenizer, "bn"))
    assert not mask[:, size:].any()
    assert allowed_in_batch(tokenizer, ["hi"], size - 1).shape == (1, size - 1)


def test_the_common_script_is_devanagari_for_every_indic_language() -> None:
    config = LLMConfig(source="tiny", hidden_size=16, num_heads=2, script="common")
    common = make_tiny_llm(list("\u0915\u0995"), config)[1]
    assert torch.equal(allowed_tokens(common, "ta"), allowed_tokens(common, "hi"))
    assert allowed_tokens(common, "ta").sum() == 2


def test_the_cap_grows_with_audio_and_language_and_never_cuts_the_draft(tokenizer) -> None:
    options = DecodeOptions(max_tokens_per_second={"ta": 2.0})
    assert options.max_tokens(10.0, "hi", tokenizer) == 266
    assert options.max_tokens(10.0, "ta", tokenizer) == 36
    assert options.max_tokens(0.0, "hi", tokenizer) == 16
    assert options.max_tokens(1.0, "hi", tokenizer, draft_tokens=100) == 166


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "magic"}, "`strategy` must be one of greedy, beam, speculative, got magic"),
        ({"hallucination": "x"}, "`hallucination` must be one of"),
        ({"script": "x"}, "`script` must be one of any, native"),
        ({"beam_size": 0}, "`beam_size` must be 1 or more, got 0"),
        ({"ctc_weight": 1.5}, "`ctc_weight` must be from 0 to 1, got 1.5"),
        ({"cer_threshold": 0}, "`cer_threshold` must be above 0, got 0"),
        ({"lang_cer_thresholds": {"hi": -1}}, r"`lang_cer_thresholds\[hi\]` must be above 0, got -1"),
        ({"hotwords": "Delhi"}, "`hotwords` must be a list of words"),
    ],
)
def test_wrong_options_are_named(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        DecodeOptions(**settings)


def test_wrong_speculative_options_are_named() -> None:
    with pytest.raises(ValueError, match="`mode` must be one of exact, relaxed, gate, got fast"):
        SpeculativeOptions(mode="fast")
    with pytest.raises(ValueError, match="`max_gap` must be 0 or more"):
        SpeculativeOptions(max_gap=-1)
    assert DecodeOptions(speculative={"mode": "gate"}).speculative.mode == "gate"
