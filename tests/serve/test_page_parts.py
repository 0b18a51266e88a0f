"""What stands behind the page, without a browser."""

import asyncio

import pytest

from maya_bridge.serving.errors import ApiError
from maya_bridge.serving.metrics import STAGES, Metrics, Stages
from maya_bridge.serving.page import transcribed
from maya_bridge.serving.page_text import error_html, timings_html, words_html
from maya_bridge.serving.page_uploads import LIFETIME, PageUploads
from maya_bridge.serving.service import Service, Transcript
from maya_bridge.serving.settings import ServeSettings
from maya_encoder.hypothesis import Hypothesis, Word

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def uploads(tmp_path, now):
    return PageUploads(tmp_path, 100, lambda: now[0])


def put(tmp_path, name, data):
    place = tmp_path / name
    place.mkdir()
    (place / "a.wav").write_bytes(data)
    return str(place / "a.wav")


def test_an_upload_is_deleted_as_it_is_read_and_can_be_read_again(uploads, tmp_path):
    path = put(tmp_path, "one", b"sound")
    assert uploads.take(path) == b"sound"
    assert list(tmp_path.iterdir()) == []
    assert uploads.take(path) == b"sound"


def test_an_upload_is_forgotten_in_time(uploads, tmp_path, now):
    path = put(tmp_path, "one", b"sound")
    uploads.take(path)
    now[0] = LIFETIME + 1
    with pytest.raises(ApiError, match="upload it again"):
        uploads.take(path)


def test_the_oldest_uploads_give_way(uploads, tmp_path):
    first, second = put(tmp_path, "one", b"x" * 60), put(tmp_path, "two", b"y" * 60)
    uploads.take(first)
    assert uploads.take(second) == b"y" * 60
    with pytest.raises(ApiError):
        uploads.take(first)


@pytest.mark.parametrize("path", ["/etc/passwd", "{}/../secret", "{}/one/../../secret", "", "{}"])
def test_nothing_else_is_read(tmp_path, path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    with pytest.raises(ApiError) as caught:
        PageUploads(folder, 100).take(path.format(folder))
    assert caught.value.status == 400
    assert (tmp_path / "secret").exists()


def test_texts_are_escaped():
    word = Word(EVIL, 0.0, 1.0, 0.5)
    for words in ([word], []):
        shown = words_html(Transcript(EVIL, 1.0, [(0.0, Hypothesis(EVIL, "hi", "llm", 1.0, words=words))]))
        assert "<img" not in shown
    assert "<img" not in error_html(EVIL)


def test_an_unsure_word_is_marked_by_more_than_its_colour():
    words = [Word("sure", 0.0, 0.5, 0.9), Word("unsure", 0.5, 1.0, 0.2)]
    shown = words_html(
        Transcript("hi", 1.0, [(3.0, Hypothesis("sure unsure", "hi", "llm", 1.0, words=words))])
    )
    assert shown.count("maya-unsure") == 1
    assert 'data-start="3.500"' in shown


def test_a_paragraph_without_words_is_its_text():
    assert "<p>hello</p>" in words_html(Transcript("hi", 1.0, [(0.0, Hypothesis("hello", "hi", "llm", 1.0))]))
    assert "Nothing is said" in words_html(Transcript("hi", 1.0, [(0.0, Hypothesis("", "hi", "llm", 1.0))]))


def test_the_running_stage_and_the_speed_are_shown():
    shown = timings_html({"receive": 0.1, "read": 0.1}, "read", 4.0)
    assert shown.count("maya-now") == 1
    assert "200 ms in all, 4.0 s of audio: 20.0 times as fast" in shown


def test_stages_add_up_and_are_counted_once():
    now, metrics = [0.0], Metrics()
    with Stages(metrics, lambda: now[0]).over() as stages:
        for stage in STAGES:
            stages.enter(stage)
            now[0] += 0.5
        assert stages.so_far()["write"] == 0.5
    assert stages.seconds == dict.fromkeys(STAGES, 0.5)
    assert b'maya_stage_seconds_count{stage="wait"} 1.0' in metrics.text()


def test_a_failing_model_is_told_in_a_sentence(sounds, tmp_path):
    path = put(tmp_path, "one", sounds.wav(sounds.level(13)))

    async def run():
        service = Service(sounds.EchoModel(), ServeSettings())
        service.batcher.start()
        shown = [
            one async for one in transcribed(service, PageUploads(tmp_path, 10**6), path, "hi", "ctc", "")
        ]
        await service.batcher.stop()
        return shown

    shown = asyncio.run(run())
    assert "Listening" in shown[0][0]
    assert "the server failed" in shown[-1][0]
    assert "secret" not in shown[-1][0]
