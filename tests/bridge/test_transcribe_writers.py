import json
from itertools import pairwise

import pytest

from maya_bridge.transcribe_files import writers
from maya_bridge.transcribe_files.style import styled
from maya_bridge.transcribe_files.writers import Segment, clock, segments_of
from maya_encoder.hypothesis import Hypothesis, Word


def spoken(text, lang="hi", pauses=(), seconds=0.3):
    """A transcript of evenly spoken words, with a second of silence before the words of the given numbers."""
    words, now = [], 0.0
    for number, word in enumerate(text.split()):
        now += 1.0 if number in pauses else 0.05
        words.append(Word(word, now, now + seconds, 0.9))
        now += seconds
    return Hypothesis(text, lang, "ctc", now, words=words)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "00:00:00.000"), (59.9996, "00:01:00.000"), (36_001.25, "10:00:01.250"), (-1, "00:00:00.000")],
)
def test_clock(seconds, shown):
    assert clock(seconds) == shown


def test_segments_end_at_pauses():
    segments = segments_of(spoken("a b c d e", pauses=(2,)))

    assert [segment.text for segment in segments] == ["a b", "c d e"]
    assert segments[1].start == pytest.approx(1.7)
    assert segments[0].words[1].text == "b"


@pytest.mark.parametrize("seed", range(5))
def test_segments_are_short_in_order_and_lose_no_word(seed):
    text = " ".join("x" * (1 + (7 * n + seed) % 19) for n in range(60))
    segments = segments_of(spoken(text))

    assert " ".join(segment.text for segment in segments) == text
    assert all(segment.end - segment.start <= writers.LONGEST for segment in segments)
    assert all(one.end <= two.start for one, two in pairwise(segments))
    for line in writers.srt(segments).splitlines():
        assert len(line) <= writers.LINE
    assert all(len(cue.splitlines()) <= 4 for cue in writers.srt(segments).split("\n\n"))


def test_a_text_without_words_is_one_segment_and_silence_none():
    assert segments_of(Hypothesis("a b", "hi", "ctc", 2.5)) == [Segment(0.0, 2.5, "a b")]
    assert segments_of(Hypothesis("", "hi", "ctc", 2.5)) == []
    assert (writers.srt([]), writers.vtt([])) == ("", "WEBVTT\n")


def test_subrip_and_webvtt():
    segments = [Segment(0.0, 1.5, "a <b> & c"), Segment(61.25, 62.0, "d")]

    assert writers.srt(segments) == (
        "1\n00:00:00,000 --> 00:00:01,500\na <b> & c\n\n2\n00:01:01,250 --> 00:01:02,000\nd\n"
    )
    assert writers.vtt(segments) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\na &lt;b&gt; &amp; c\n\n00:01:01.250 --> 00:01:02.000\nd\n"
    )


def test_text_and_json_lines():
    one = Hypothesis("नमन", "hi", "ctc", 1.0, words=[Word("नमन", 0.1, 0.5, 0.75)])

    assert writers.text(one) == "नमन\n"
    assert writers.text(one, "a.wav", timestamps=True) == "a.wav\tनमन\n\t0.10\t0.50\t0.75\tनमन\n"
    line = writers.json_line(one, "a.wav")
    assert line.count("\n") == 1
    assert json.loads(line)["words"] == [{"text": "नमन", "start": 0.1, "end": 0.5, "confidence": 0.75}]


@pytest.mark.parametrize(
    ("lang", "text", "readable"),
    [
        ("hi", "क ख ग घ", "क ख ग। घ।"),
        ("ta", "க ங ச ஞ", "க ங ச. ஞ."),
        ("en", "so i said i'm in", "So I said. I'm in."),
    ],
)
def test_readable_ends_sentences_at_long_pauses(lang, text, readable):
    hypothesis = spoken(text, lang, pauses=(3,))

    found = styled(hypothesis, "readable")

    assert found.text == readable
    assert " ".join(word.text for word in found.words) == readable
    assert styled(hypothesis, "raw") == hypothesis


def test_readable_leaves_punctuation_of_the_model_and_silence_alone():
    for text in ("क ख, ग।", ""):
        assert styled(spoken(text), "readable").text == text
    assert styled(Hypothesis("क ख", None, "ctc", 1.0), "readable", "hi").text == "क ख।"
