"""What a person sees."""

from typing import Any

import pytest

from maya_train.progress import StepProgress, clock


def record(loss: float = 1.5, **more: Any) -> dict[str, Any]:
    spent = {"step": 1.5, "data": 0.5}
    return {
        "loss": loss,
        "audio_seconds": 20.0,
        "tokens": 40,
        "time": {**spent, **more.pop("time", {})},
        **more,
    }


def test_plain_line_every_few_steps_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with StepProgress("encoder", 10, start=4, log_every=3) as progress:
        for _ in range(6):
            progress.advance(record())

    assert capsys.readouterr().err.splitlines() == [
        "encoder: step 6/10  loss 1.500  10 audio-h/h  20 tok/s  wait 25%  0:08 left",
        "encoder: step 9/10  loss 1.500  10 audio-h/h  20 tok/s  wait 25%  0:02 left",
        "encoder: step 10/10  loss 1.500  10 audio-h/h  20 tok/s  wait 25%  0:00 left",
    ]


def test_line_has_heads_worst_languages_rates_padding_mfu_and_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    langs = {"ctc": {"hi": 2.0, "en": 1.0, "ta": 3.0}, "rnnt": {"hi": 1.0}}
    rates = {"encoder": 1e-3, "ctc": 1e-3}
    gauges = {"padding": 0.04, "mfu": 0.31, "memory_gib": 61.04}
    with StepProgress("encoder", 1) as progress:
        progress.advance(record(ctc=2.0, rnnt=1.0, by_lang=langs, lr=rates, time=gauges))

    shown = capsys.readouterr().err
    assert "loss 1.500 (ctc 2.000, rnnt 1.000)  ta 3.00 hi 2.00  lr 1.0e-03" in shown
    assert "pad 4%  MFU 31%  wait 25%  61.0 GiB" in shown


def test_bar_with_loss_speed_and_time_in_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "160")
    with StepProgress("encoder", 2) as progress:
        progress.advance(record())
        progress.advance(record(loss=1.25))

    shown = capsys.readouterr().err
    assert "loss 1.250" in shown
    assert "10 audio-h/h" in shown
    assert "2/2" in shown


def test_other_processes_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with StepProgress("encoder", 1, enabled=False) as progress:
        progress.say("hello")
        progress.advance(record())

    assert capsys.readouterr().err == ""


def test_clock_counts_hours_only_where_there_are_some() -> None:
    assert [clock(seconds) for seconds in (5, 65, 3665)] == ["0:05", "1:05", "1:01:05"]
