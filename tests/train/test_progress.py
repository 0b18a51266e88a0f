"""What a person sees."""

import pytest

from maya_train.progress import StepProgress, clock


def test_plain_line_every_few_steps_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with StepProgress("encoder", 10, start=4, log_every=3) as progress:
        for _ in range(6):
            progress.advance(loss=1.5, seconds=2.0, audio_seconds=20.0)

    assert capsys.readouterr().err.splitlines() == [
        "encoder: step 6/10  loss 1.500  10 audio-h/h  0:08 left",
        "encoder: step 9/10  loss 1.500  10 audio-h/h  0:02 left",
        "encoder: step 10/10  loss 1.500  10 audio-h/h  0:00 left",
    ]


def test_bar_with_loss_speed_and_time_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with StepProgress("encoder", 2) as progress:
        progress.advance(loss=1.5, seconds=2.0, audio_seconds=20.0)
        progress.advance(loss=1.25, seconds=2.0, audio_seconds=20.0)

    shown = capsys.readouterr().err
    assert "loss 1.250" in shown
    assert "10 audio-h/h" in shown
    assert "2/2" in shown


def test_other_processes_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with StepProgress("encoder", 1, enabled=False) as progress:
        progress.say("hello")
        progress.advance(loss=1.0, seconds=1.0, audio_seconds=1.0)

    assert capsys.readouterr().err == ""


def test_clock_counts_hours_only_where_there_are_some() -> None:
    assert [clock(seconds) for seconds in (5, 65, 3665)] == ["0:05", "1:05", "1:01:05"]
