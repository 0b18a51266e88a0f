import builtins
import sys

import numpy as np
import pytest

from maya_data.synth import espeak
from maya_data.synth.errors import MissingExtra, SynthesisError
from maya_data.synth.espeak import spoken_form

pytest.importorskip("espeakng_loader")


def test_speech_is_as_long_as_its_text():
    speaker = espeak.espeak()

    short = speaker.speak("एक", "hi", rate=160, pitch=50)
    long = speaker.speak("आज रविवार है और मार्च की दस तारीख है", "hi", rate=160, pitch=50)

    assert 0.1 < len(short) / speaker.sampling_rate < 1
    assert 1.5 < len(long) / speaker.sampling_rate < 4
    assert np.abs(long).max() > 3000


def test_a_faster_rate_is_shorter():
    speak = espeak.espeak().speak

    assert len(speak("i like japan", "en", rate=185, pitch=50)) < len(
        speak("i like japan", "en", rate=135, pitch=50)
    )


def test_an_unknown_language_is_refused():
    with pytest.raises(SynthesisError, match="eSpeak NG has no voice 'qq'"):
        espeak.espeak().speak("a", "qq", rate=160, pitch=50)


def test_nukta_letters_reach_the_rules_as_one_code_point():
    assert spoken_form("নয\u09bc", "bn") == "ন\u09df"
    assert spoken_form("ড\u09bc", "as") == "ৰ"


def test_a_word_that_would_be_read_as_a_letter_is_respelled():
    assert spoken_form("ন নম্বৰ", "as") == "নঅ নম্বৰ"


def test_no_assamese_or_bengali_word_is_spelled_letter_by_letter():
    pytest.importorskip("babel")
    pytest.importorskip("indic_numtowords")
    from maya_data.synth.phrases import lexicon

    speaker = espeak.espeak()
    for lang in ("as", "bn"):
        for word in lexicon(lang).words():
            samples = speaker.speak(word, lang, rate=160, pitch=50)
            assert len(samples) / speaker.sampling_rate < 0.4 + 0.1 * len(word), word


def test_a_missing_package_is_named_with_the_install_line(monkeypatch):
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "espeakng_loader":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "espeakng_loader", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)

    with pytest.raises(
        MissingExtra, match=r"synthesis needs espeakng-loader; pip install 'maya-data\[synth\]'"
    ):
        espeak.data_folder()
