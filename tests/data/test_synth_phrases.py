import random
import tomllib
import unicodedata
from importlib.resources import files

import pytest

from maya_data.script import LANGS
from maya_data.synth.errors import SynthesisError
from maya_data.synth.phrases import Lexicon, lexicon, normalize
from maya_data.text import profile

pytest.importorskip("babel")
pytest.importorskip("indic_numtowords")


@pytest.mark.parametrize("lang", LANGS)
def test_sentences_are_made_of_the_listed_words(lang):
    words = set(lexicon(lang).words())

    sentences = lexicon(lang).sentences(462, random.Random(0))

    assert len(set(sentences)) == 462
    assert {word for sentence in sentences for word in sentence.split()} <= words
    assert 80 <= len(words) <= 120


@pytest.mark.parametrize("lang", LANGS)
def test_words_are_what_the_text_profile_gives(lang):
    text = profile("asr-v1")

    assert [text.normalize(word, lang) for word in lexicon(lang).words()] == lexicon(lang).words()


@pytest.mark.parametrize("lang", LANGS)
def test_fillers_of_a_slot_differ(lang):
    fillers = lexicon(lang).fillers

    assert {slot: len(set(words)) for slot, words in fillers.items()} == {
        **{"country": 16, "language": 14, "weekday": 7, "month": 12},
        **{"date": 28, "number": 30, "count": 29},
    }


@pytest.mark.parametrize("lang", [lang for lang in LANGS if lang != "en"])
def test_every_letter_belongs_to_the_script_of_the_language(lang):
    script = unicodedata.name(lexicon(lang).fillers["weekday"][0][0]).split()[0]

    letters = {char for word in lexicon(lang).words() for char in word} - {"'"}

    assert {unicodedata.name(char).split()[0] for char in letters} == {script}


def test_assamese_has_no_bengali_ra():
    assert not [word for word in lexicon("as").words() if "র" in word]


def test_every_correction_is_used():
    phrases = tomllib.loads(files("maya_data.synth").joinpath("phrases.toml").read_text(encoding="utf-8"))

    for lang, entry in phrases.items():
        said = {word for words in lexicon(lang).fillers.values() for word in words}
        assert {normalize(new) for new in entry.get("corrections", {}).values()} <= said


def test_a_slot_that_stands_twice_gets_two_words():
    words = Lexicon("xx", ("{a} {a}",), {"a": ("one", "two")})

    assert sorted(words.sentences(2, random.Random(0))) == ["one two", "two one"]


def test_a_suffix_stays_on_its_word():
    words = Lexicon("xx", ("on {day}s {n}",), {"day": ("monday",), "n": ("twenty one",)})

    assert words.words() == ["mondays", "on", "one", "twenty"]


def test_too_many_sentences_are_refused():
    words = Lexicon("xx", ("{a}",), {"a": ("one", "two")})

    with pytest.raises(SynthesisError, match="the templates of xx give about 2 sentences; ask for fewer"):
        words.sentences(3, random.Random(0))


def test_an_unknown_language_is_named():
    with pytest.raises(SynthesisError, match="no phrases for language 'fr'; there are: as, bn"):
        lexicon("fr")


def test_normalize_keeps_marks_and_apostrophes_and_drops_joiners():
    assert normalize("Myanmar (Burma)  ক'ব র\u200d্য!") == "myanmar ক'ব র্য"
