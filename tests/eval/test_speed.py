from maya_eval.hypotheses import Hypothesis
from maya_eval.measures.langid import Identification
from maya_eval.scores import score
from maya_eval.speed import Speed


def _row(utt_id, duration=10.0, elapsed=2.0, lang="hi", **extra):
    return Hypothesis(
        utt_id=utt_id, lang=lang, text="a", pred_text="a", duration=duration, elapsed=elapsed, extra=extra
    )


def test_rtfx_is_audio_over_work_without_the_warm_up():
    rows = [
        _row("w", elapsed=50.0, warmup=True),
        _row("1"),
        _row("2", duration=30.0),
        _row("3", elapsed=None),
    ]
    speed = Speed()
    for row in rows:
        speed.add(row)
    assert (speed.rtfx, speed.utterances, speed.warmup) == (10.0, 2, 1)
    (line,) = score(rows)
    assert (line.rtfx, line.work_seconds, line.seconds) == (10.0, 4.0, 60.0)


def test_a_speed_says_under_which_settings():
    speed = Speed()
    speed.add(_row("1", batch_size=16, dtype="float32", device="cpu"))
    assert speed.sentence().endswith("1 utterances; batch size 16; dtype float32; device cpu")
    assert speed.to_dict()["batch_size"] == "16"
    assert Speed().sentence() == (
        "RTFx -: seconds of audio a second of work, 0 utterances; batch size, dtype and device not told"
    )


def test_rtfx_by_duration():
    rows = [_row("1", 1.0, 1.0), _row("2", 8.0, 2.0)]
    assert [line.rtfx for line in score(rows, by="duration")] == [1.0, 4.0]


def test_recognised_languages_are_counted_and_confused():
    found = Identification()
    for lang, recognised in [("hi", "hi"), ("hi", "mr"), ("mr", "mr"), ("ta", None)]:
        found.add(_row("1", lang=lang, **({"pred_lang": recognised} if recognised else {})))
    assert (found.utterances, found.accuracy) == (3, 2 / 3)
    assert found.confusion == {"hi": {"hi": 1, "mr": 1}, "mr": {"mr": 1}}
    assert found.to_dict()["by_lang"] == {"hi": 0.5, "mr": 1.0}
    assert Identification().accuracy is None
