import numpy as np
import pytest

from maya_bridge import load
from maya_bridge.any_model import open_model
from maya_encoder.checkpoint import load as load_acoustic


def test_an_acoustic_folder_is_heard_by_its_heads(acoustic_folder, tone):
    model = open_model(acoustic_folder)

    assert (model.decodes, model.langs, model.saving) == (("ctc",), ("bn", "hi"), None)
    expected = load_acoustic(acoustic_folder).transcribe([tone], lang="hi", head="ctc")
    assert model.transcribe([tone], "hi", words=True) == expected
    (plain,) = model.transcribe([tone], ["hi"])
    assert (plain.text, plain.words) == (expected[0].text, [])
    assert model.transcribe([], "hi") == []


def test_a_speech_llm_folder_is_written_by_both(speech_llm_folder, tone):
    model = open_model(speech_llm_folder)

    assert model.decodes == ("greedy", "speculative", "beam", "ctc")
    assert model.langs == ("bn", "hi")
    assert model.transcribe([tone], "hi", words=True) == load(speech_llm_folder).transcribe([tone], "hi")
    (greedy, other), (ctc, _) = (
        model.transcribe([tone, np.zeros(4000, np.float32)], ["hi", "bn"], decode=decode)
        for decode in ("greedy", "ctc")
    )
    assert (greedy.head, ctc.head, other.lang) == ("llm", "ctc", "bn")
    assert greedy.words == []


@pytest.mark.parametrize(
    ("lang", "decode", "hotwords", "message"),
    [
        ("xx", "ctc", (), "'xx'"),
        ("xx", "greedy", (), "'xx'"),
        ("auto", "greedy", (), "did not learn to tell them"),
        ("auto", "ctc", (), "`lang` must be given"),
        ("hi", "rnnt", (), "`decode` must be one of greedy, speculative, beam, ctc for .*, got rnnt"),
        ("hi", "greedy", ["नमन"], "hotwords need an LLM"),
        ("hi", "ctc", ["ச"], "characters that the model writes"),
        ("hi", "ctc", "नमन", "`hotwords` must be a list of words"),
    ],
)
def test_what_cannot_be_is_refused_before_and_while_transcribing(
    lang, decode, hotwords, message, speech_llm_folder, tone
):
    model = open_model(speech_llm_folder)

    with pytest.raises(ValueError, match=message):
        model.check(lang, decode, hotwords)
    with pytest.raises(ValueError, match=message):
        model.transcribe([tone], lang, decode=decode, hotwords=hotwords)
    model.check("hi", None)


def test_long_audio_is_heard_by_a_head_in_pieces(acoustic_folder, monkeypatch):
    model = open_model(acoustic_folder)
    sizes = []
    encode = model.acoustic.encode
    monkeypatch.setattr(
        model.acoustic, "encode", lambda w, *more: sizes.append(w.shape[1]) or encode(w, *more)
    )

    (found,) = model.transcribe([np.zeros(70 * 16000, np.int16)], "hi", decode="ctc")

    assert found.duration == 70.0
    assert max(sizes) <= 31 * 16000


def test_int8_says_what_it_saved_and_writes(speech_llm_folder, tone):
    model = open_model(speech_llm_folder, int8=True)

    assert model.saving.layers == 0  # all are too small here
    assert model.transcribe([tone], "hi")[0].lang == "hi"
