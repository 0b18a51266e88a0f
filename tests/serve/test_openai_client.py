"""OpenAI's own client, as its users run it, against the server."""

import io

import openai
import pytest


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as made:
        yield made


@pytest.fixture
def file(said):
    return ("clip.wav", said(42, 0.4))


def test_json_is_the_text(client, file):
    got = client.audio.transcriptions.create(file=file, model="maya", language="hi")
    assert got.text == "number 42"
    assert got.usage.type == "duration"
    assert got.usage.seconds == 1


def test_a_plain_file_object_and_openais_model_name_do(client, said):
    upload = io.BytesIO(said(7))
    upload.name = "clip.wav"
    assert client.audio.transcriptions.create(file=upload, model="whisper-1").text == "number 7"


def test_verbose_json_has_segments(client, file):
    got = client.audio.transcriptions.create(
        file=file, model="maya", language="hi", response_format="verbose_json"
    )
    assert (got.language, got.duration, got.text) == ("hi", 0.4, "number 42")
    assert got.words is None
    [segment] = got.segments
    assert (segment.id, segment.start, segment.end, segment.text) == (0, 0.0, 0.4, "number 42")
    assert segment.avg_logprob == -0.25
    assert segment.compression_ratio > 0


def test_verbose_json_has_words_where_asked_for(client, file):
    got = client.audio.transcriptions.create(
        file=file, model="maya", response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert [(word.word, word.start, word.end) for word in got.words] == [
        ("number", 0.0, 0.2),
        ("42", 0.2, 0.4),
    ]
    assert got.segments is None
    assert got.language == "en"  # found out


def test_words_and_segments_come_together(client, file):
    got = client.audio.transcriptions.create(
        file=file, model="maya", response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert len(got.words) == 2
    assert len(got.segments) == 1


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ("text", "number 42\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:00,400\nnumber 42\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:00.400\nnumber 42\n"),
    ],
)
def test_other_formats_are_their_text(client, file, shape, text):
    got = client.audio.transcriptions.create(file=file, model="maya", response_format=shape)
    assert got == text


def test_the_prompts_names_go_to_the_model(client, file):
    got = client.audio.transcriptions.create(file=file, model="maya", prompt="Chennai, Maya ASR,\n Chennai")
    assert got.text == "number 42 Chennai Maya ASR"


def test_the_decoding_is_an_extra_field(client, file, server):
    got = client.audio.transcriptions.create(file=file, model="maya", extra_body={"decode": "ctc"})
    assert got.text == "number 42"
    with pytest.raises(openai.BadRequestError, match="decode") as caught:
        client.audio.transcriptions.create(file=file, model="maya", extra_body={"decode": "magic"})
    assert caught.value.param == "decode"


def test_a_stream_ends_with_the_whole_text(client, said):
    events = list(
        client.audio.transcriptions.create(
            file=("a.wav", said(6, 40)), model="maya", language="hi", stream=True
        )
    )
    assert [one.type for one in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert "".join(one.delta for one in events[:-1]) == events[-1].text == "number 6 number 6"


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["maya"]
    assert client.models.retrieve("maya").object == "model"
    with pytest.raises(openai.NotFoundError, match="gpt-5"):
        client.models.retrieve("gpt-5")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"language": "xx"}, "language"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"stream": True, "response_format": "srt"}, "stream"),
        ({"prompt": "forbidden"}, "prompt"),
        ({"prompt": ",".join(map(str, range(101)))}, "prompt"),
        ({"prompt": "x" * 101}, "prompt"),
    ],
)
def test_a_wrong_field_is_named(client, file, more, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(file=file, model="maya", **more)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_long_audio_is_one_answer_by_the_time_of_the_whole(client, said):
    got = client.audio.transcriptions.create(
        file=("long.wav", said(5, 70)),
        model="maya",
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert got.text == "number 5 number 5 number 5"
    assert got.duration == 70
    assert [word.start for word in got.words] == sorted(word.start for word in got.words)
    assert got.words[-1].end == pytest.approx(70)
    assert got.language == "en"


def test_an_answer_to_silence_is_empty(client, said):
    got = client.audio.transcriptions.create(
        file=("a.wav", said(0)), model="maya", response_format="verbose_json"
    )
    assert got.text == ""
    assert got.segments == []
