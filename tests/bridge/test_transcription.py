from dataclasses import replace

import numpy as np
import pytest
import torch

from maya_bridge import Cutting, DecodeOptions, load, writing
from maya_bridge.decoding import without_guards
from maya_bridge.llm import LLMConfig
from maya_bridge.projectors.ctc_compress import CTCCompress
from maya_bridge.projectors.mlp import MLPProjector
from maya_bridge.speech_llm import EncodedSpeech, SpeechLLM, make_speech_llm
from maya_bridge.text_side import LLMTokenizer
from maya_bridge.tiny import character_tokenizer, tiny_gemma
from maya_encoder.audio import BadAudio, pad_waveforms
from maya_encoder.plugins import available, find
from maya_encoder.script import unfold

SMALL = {
    "qformer": {"hidden_size": 32, "num_heads": 2},
    "salsa": {"bottleneck": 16, "num_heads": 2, "source": "ctc"},
}


def half_taught(acoustic, projector, audio, langs, steps=30):
    """A model that has begun to learn some texts: it writes something, and not the same for all."""
    torch.manual_seed(0)
    llm = LLMConfig(source="tiny", script="common", hidden_size=32, num_heads=2)
    model = make_speech_llm(acoustic, projector, llm)
    texts = [unfold("कखग चपज"[n % 5 :], lang) for n, lang in enumerate(langs)]
    optimizer = torch.optim.AdamW([*model.projector.parameters(), *model.llm.parameters()], lr=1e-2)
    with torch.no_grad():
        waveforms, lens = pad_waveforms(audio)
        encoder_out, lens = acoustic.encode(waveforms, lens, langs)
        speech = EncodedSpeech(encoder_out, lens, acoustic.head("ctc")(encoder_out))
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(speech, texts, langs).loss_sum.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture
def said(phrases, phrase_langs):
    """The phrases in the scripts of their languages."""
    return [unfold(text, lang) for text, lang in zip(phrases, phrase_langs, strict=True)]


def noises(seed=0):
    draw = np.random.default_rng(seed)
    sizes = (16000, 5000, 24000, 900, 11111, 8000, 30000, 2000)
    return [draw.uniform(-0.5, 0.5, size).astype(np.float32) for size in sizes]


@pytest.mark.parametrize("projector", sorted(available("projectors")))
def test_eight_lengths_together_give_what_each_gives_alone(projector, acoustic):
    config = find("projectors", projector)(**SMALL.get(projector, {}))
    audio, langs = noises(), ["hi", "bn"] * 4
    model = half_taught(acoustic, config, audio, langs)

    for strategy in ("greedy", "beam", "speculative"):
        options = replace(without_guards(strategy), max_tokens_per_second={"hi": 4.0, "bn": 4.0})
        together = model.transcribe(audio, langs, batch_size=8, options=options)
        alone = [
            model.transcribe(item, lang, options=options)[0] for item, lang in zip(audio, langs, strict=True)
        ]

        assert [one.text for one in together] == [one.text for one in alone]
        assert [one.duration for one in together] == [len(item) / 16000 for item in audio]
        assert len({one.text for one in together}) > 1


def test_phrases_are_written_with_the_times_of_their_words(copier, sound, phrases, phrase_langs, said):
    found = copier.transcribe([sound(text) for text in phrases], phrase_langs)

    assert [one.text for one in found] == said
    assert {one.head for one in found} == {"llm"}
    assert {one.fallback for one in found} == {None}
    for one in found:
        assert [word.text for word in one.words] == one.text.split()
        assert all(0 <= word.start < word.end <= one.duration for word in one.words)
    for one in found[::2]:  # the letters that the acoustic tokenizer knows
        assert one.words[0].start == pytest.approx(0.08 + 0.08, abs=0.05)
        assert min(word.confidence for word in one.words) > 0.9


@pytest.mark.parametrize("strategy", ["greedy", "beam", "speculative"])
def test_every_search_writes_the_phrases(strategy, copier, sound, phrases, phrase_langs, said):
    found = copier.transcribe([sound(text) for text in phrases], phrase_langs, decode=strategy)

    assert [one.text for one in found] == said
    assert all(len(one.nbest) == (4 if strategy == "beam" else 0) for one in found)


def test_a_right_draft_takes_few_passes(copier, sound, phrases):
    audio = [sound(text) for text in phrases]
    slow = copier.transcribe(audio, "hi", decode="greedy")
    quick = copier.transcribe(audio, "hi", decode="speculative")

    assert sum(one.passes for one in slow) > 3 * sum(one.passes for one in quick)


def test_long_audio_is_cut_between_the_words(copier, sound, phrases):
    spoken = phrases[::2]  # Hindi
    audio = np.concatenate([sound(text, 8, 8) for text in spoken])
    cutting = Cutting(target=1.6, cap=2.5, reach=0.8)

    (found,) = copier.transcribe(audio, "hi", cutting=cutting)

    assert found.text == " ".join(spoken)
    assert [word.text for word in found.words] == found.text.split()
    starts = [word.start for word in found.words]
    assert starts == sorted(starts)
    assert starts[-1] > found.duration - 1
    assert found.duration == len(audio) / 16000
    assert found.nbest == []


def test_pieces_of_long_audio_share_batches_with_short_audio(copier, sound, phrases, monkeypatch):
    sizes = []
    encode = copier.acoustic.encode
    monkeypatch.setattr(
        copier.acoustic, "encode", lambda w, lens, langs: (sizes.append(len(w)), encode(w, lens, langs))[1]
    )
    audio = [np.concatenate([sound(text, 8, 8) for text in phrases]), sound(phrases[0])]

    copier.transcribe(audio, "hi", cutting=Cutting(target=1.6, cap=2.5, reach=0.8))

    assert max(sizes) > 3


def test_the_llm_names_the_language_where_it_is_asked_to(copier, sound, phrases, phrase_langs, said):
    found = copier.transcribe([sound(text) for text in phrases], "auto")

    assert [one.lang for one in found] == phrase_langs
    assert [one.text for one in found] == said


def test_one_language_may_be_given_and_another_asked_for(copier, sound, phrases):
    found = copier.transcribe([sound(phrases[1]), sound(phrases[1])], ["hi", "auto"])

    assert [one.lang for one in found] == ["hi", "bn"]


def test_an_llm_that_cannot_name_languages_is_not_asked(speech_llm):
    with pytest.raises(
        ValueError, match=r"`langs` must name a language of bn, hi: .*`lid_prob` is 0.*, got auto"
    ):
        speech_llm.transcribe(np.ones(8000, dtype=np.float32), "auto")


def test_silence_is_empty_and_the_llm_is_not_called(copier, monkeypatch):
    monkeypatch.setattr(copier.llm, "forward", lambda *args, **kwargs: pytest.fail("the LLM was called"))

    (found,) = copier.transcribe(np.zeros(32000, dtype=np.float32), "hi")

    assert (found.text, found.words, found.passes, found.fallback) == ("", [], 0, "silence")
    assert found.head == "ctc"


def test_words_out_of_nowhere_give_way_to_what_ctc_heard(copier, sound, phrases, letters):
    said = " ".join([letters[:4], letters[4:8], letters[8:12]])
    audio = sound(said)

    bare = copier.transcribe(audio, "hi", options=without_guards())[0]
    found = copier.transcribe(audio, "hi", options=DecodeOptions(cer_threshold=0.01))[0]
    checked = copier.transcribe(
        audio, "hi", options=DecodeOptions(cer_threshold=0.01, hallucination="check")
    )[0]

    assert bare.text != said
    assert (found.text, found.head, found.fallback) == (said, "ctc", "hallucination")
    assert (checked.text, checked.head, checked.doubt) == (bare.text, "llm", "hallucination")


def test_an_unsure_ctc_head_leaves_the_llm_alone(copier, sound, letters, monkeypatch):
    audio = sound(" ".join([letters[:4], letters[4:8], letters[8:12]]))
    options = DecodeOptions(cer_threshold=0.01)
    sure = copier.transcribe(audio, "hi", options=options)[0]

    head = copier.acoustic.head("ctc")
    monkeypatch.setattr(head, "forward", lambda frames, lang_ids=None: (frames / 5).log_softmax(-1))
    monkeypatch.setattr(copier.projector, "needs", frozenset())
    project = copier.projector.forward

    def heard(frames, lens, ctc_log_probs=None, units=None):
        assert ctc_log_probs is None
        return project(frames, lens, frames.float().log_softmax(-1))

    monkeypatch.setattr(copier.projector, "forward", heard)
    for strategy in ("greedy", "speculative"):
        unsure = copier.transcribe(audio, "hi", options=replace(options, strategy=strategy))[0]
        bare = copier.transcribe(audio, "hi", options=without_guards())[0]
        assert (unsure.text, unsure.head) == (bare.text, "llm")
        assert unsure.doubt == "hallucination"
        assert [word.text for word in unsure.words] == unsure.text.split()
    assert sure.head == "ctc"


def test_hotwords_that_ctc_may_have_heard_go_into_the_prompt(copier, sound, letters, monkeypatch):
    hf = character_tokenizer([" ", ",", *letters])
    hf.add_special_tokens({"additional_special_tokens": ["<|ctx|>", "<|/ctx|>"]})
    torch.manual_seed(0)
    llm = tiny_gemma(len(hf), LLMConfig(source="tiny", hidden_size=32, num_heads=2))
    model = SpeechLLM(copier.acoustic, CTCCompress(), llm, LLMTokenizer(hf, "common")).eval()
    said, near, far = letters[:4], letters[:3] + letters[5], letters[8:12]
    built, build = [], model.prompt.build

    def noted(*args, **more):
        built.append((more["hotwords"], build(*args, **more)))
        return built[-1][1]

    monkeypatch.setattr(model.prompt, "build", noted)
    options = replace(without_guards(), hotwords=[far, near])
    model.transcribe([sound(said), sound(far)], "hi", options=options)

    (hotwords, batch), tokenizer = built[0], model.llm_tokenizer
    assert hotwords == [[near], [far]]
    context = [tokenizer.context_id("<|ctx|>"), *tokenizer.encode(near, "hi")]
    row = batch.ids[0][batch.attention_mask[0].bool()].tolist()
    assert row[: len(context) + 1] == [tokenizer.bos_id, *context]
    parts = model.loss(
        model.encode_speech(*pad_waveforms([sound(said)]), ["hi"]), [said], ["hi"], hotwords=[[near]]
    )
    assert parts.loss_sum.isfinite()


@pytest.mark.parametrize("samples", [1, 100, 160, 640, 700])
def test_an_utterance_of_a_frame_or_less_is_no_trouble(samples, speech_llm):
    audio = np.full(samples, 0.1, dtype=np.float32)

    for options in (None, without_guards()):
        (found,) = speech_llm.transcribe(audio, "hi", options=options)
        assert found.duration == samples / 16000
        if samples < 160:
            assert (found.text, found.fallback) == ("", "silence")


def test_noise_ends(speech_llm):
    found = speech_llm.transcribe(noises(1), "hi")

    assert all(len(one.text) < 25 * one.duration + 100 for one in found)


def test_modes_and_order_stay(copier, sound, phrases, phrase_langs, said):
    copier.train()
    copier.projector.eval()
    audio = [sound(text) for text in reversed(phrases)]

    found = copier.transcribe(audio, phrase_langs[::-1], batch_size=3)

    assert [one.text for one in found] == said[::-1]
    assert copier.llm.training
    assert not copier.projector.training
    copier.eval()


def test_no_audio_gives_nothing_but_mistakes_are_named_all_the_same(speech_llm):
    assert speech_llm.transcribe([], "hi") == []
    with pytest.raises(ValueError, match="'xx'"):
        speech_llm.transcribe([], "xx")


@pytest.mark.parametrize(
    ("audio", "arguments", "message"),
    [
        ("nowhere.wav", {}, "no such audio file: nowhere.wav"),
        (np.zeros(0, dtype=np.float32), {}, "the audio array holds no samples"),
        (np.zeros(800, dtype=np.float32), {"batch_size": 0}, "`batch_size` must be 1 or more, got 0"),
        (np.zeros(800, dtype=np.float32), {"langs": "xx"}, "does not know language 'xx'"),
        (np.zeros(800, dtype=np.float32), {"langs": "ta"}, "does not know language 'ta'"),
        (
            np.zeros(800, dtype=np.float32),
            {"langs": ["hi", "bn"]},
            "`langs` must be one or one for each of 1, got 2",
        ),
        (np.zeros(800, dtype=np.float32), {"decode": "rnnt"}, "no head named 'rnnt'"),
        (
            np.tile([0.1, -0.1], 400).astype(np.float32),
            {"options": DecodeOptions(hotwords=["नमन"])},
            r"hotwords need an LLM whose tokenizer knows <\|ctx\|>, and this one's does not",
        ),
    ],
)
def test_bad_input_is_one_sentence(audio, arguments, message, speech_llm):
    with pytest.raises((ValueError, BadAudio), match=message) as told:
        speech_llm.transcribe(audio, **{"langs": "hi", **arguments})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("level", [0.0, 0.25, 5e-5])
def test_digital_silence_is_empty_whatever_the_ctc_head_makes_of_it(level, speech_llm, monkeypatch):
    monkeypatch.setattr(speech_llm.llm, "forward", lambda *args, **kwargs: pytest.fail("the LLM was called"))
    audio = np.full(32000, level, dtype=np.float32)
    audio[::2] += 1e-4 if level else 0.0

    (found,) = speech_llm.transcribe(audio, "hi")

    assert (found.text, found.fallback) == ("", "silence")


@pytest.mark.parametrize("key", ["options", "cutting"])
def test_a_head_refuses_what_is_said_of_the_llms_text(key, speech_llm):
    given = {"options": DecodeOptions(), "cutting": Cutting()}[key]
    with pytest.raises(ValueError, match=f"`{key}` is about the LLM's text, and `decode` is ctc"):
        speech_llm.transcribe(noises()[0], "hi", decode="ctc", **{key: given})


@pytest.mark.parametrize("window", ["refuse", "warn"])
def test_a_text_ends_where_the_window_does_unless_told(window, acoustic, monkeypatch):
    audio = noises()[0]
    model = half_taught(acoustic, MLPProjector(stride=1), [audio], ["hi"], steps=0)
    monkeypatch.setattr(writing, "sliding_window", lambda config: 20)  # the prompt has 18 positions
    model.prompt.config.window = window
    model.llm_tokenizer.eos_id = -2  # never written

    (found,) = model.transcribe(audio, "hi", options=without_guards())

    assert (len(found.tokens) == 3) == (window == "refuse")


def test_audio_beyond_the_window_is_refused(acoustic):
    audio = noises()[0]
    model = half_taught(acoustic, MLPProjector(stride=1), [audio], ["hi"], steps=0)
    model.llm.config.layer_types = ["sliding_attention", "full_attention"]
    model.llm.config.sliding_window = 16

    with pytest.raises(ValueError, match=r"a prompt of 18 positions is longer than .* window of 16: shorten"):
        model.transcribe(audio, "hi", options=without_guards())


def test_a_saved_model_writes_the_same(copier, speech_llm, tmp_path):
    from maya_bridge import save

    save(speech_llm, tmp_path / "model")
    audio = noises()[:3]

    again = load(tmp_path / "model").transcribe(audio, "hi", options=without_guards())

    assert again == speech_llm.transcribe(audio, "hi", options=without_guards())
