"""Tasks over real tiny models: what learns, what stays, and kept encoder outputs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from maya_bridge.projectors.mlp import MLPProjector
from maya_data.audio.fetch import CorruptAudio, read_audio
from maya_data.loading import loader
from maya_data.loading.quarantine import read_ledger
from maya_train import build, sources
from maya_train.build import build_task
from maya_train.errors import ConfigError
from maya_train.schema import RunConfig
from maya_train.sources import TrainingData, audio_batches, text_batches
from maya_train.stages import run_stage
from maya_train.strategies import Capabilities
from maya_train.tasks import Moment
from maya_train.tasks.encoder_cache import key_of
from maya_train.validate import make_validator

Make = Callable[..., RunConfig]


def quiet(text: str) -> None:
    pass


@pytest.fixture
def trained_encoder(fabric: Fabric, make_config: Make) -> str:
    """The model folder of a few steps."""
    cfg = make_config("acoustic")
    run_stage(cfg, fabric, Capabilities())
    return f"{cfg.out_dir}/model"


def test_loss_is_weighed_and_normalised_by_head(fabric: Fabric, make_config: Make) -> None:
    cfg = make_config(loss={"ctc": 0.5, "rnnt": 2.0})
    data = TrainingData.open(cfg)
    task, _ = build_task(fabric, cfg, data, quiet)
    work = task.prepare(next(audio_batches(fabric, cfg, data, 0)))
    loss = task(work, Moment(0, 1))

    assert work.num_tokens == sum(len(text) + 1 for text in work.batch.texts)  # a piece for the word boundary
    torch.testing.assert_close(loss.loss_sum, 0.5 * loss.parts["ctc"] + 2 * loss.parts["rnnt"])


def test_frozen_encoder_is_in_eval_mode_and_gets_no_gradient(fabric: Fabric, make_config: Make) -> None:
    cfg = make_config(train=["ctc"], loss={"ctc": 1.0, "rnnt": 0.0})
    data = TrainingData.open(cfg)
    task, _ = build_task(fabric, cfg, data, quiet)
    task.set_modes()
    task(task.prepare(next(audio_batches(fabric, cfg, data, 0))), Moment(0, 1)).loss_sum.backward()

    assert not task.model.encoder.training
    assert task.model.heads["ctc"].training
    assert {name.split(".")[1] for name, p in task.model.named_parameters() if p.grad is not None} == {"ctc"}


def test_kept_outputs_are_those_of_the_encoder(
    fabric: Fabric, make_config: Make, trained_encoder: str
) -> None:
    cfg = make_config("speech_llm", init_from=trained_encoder)
    data = TrainingData.open(cfg)
    task, cache = build_task(fabric, cfg, data, quiet)
    assert cache is not None
    batch = next(audio_batches(fabric, cfg, data, 0))
    task.model.eval()
    live = task.model.encode_speech(batch.waveforms, batch.waveform_lens, batch.langs)
    frames, lens, log_probs = cache.get(batch.ids)

    assert len(cache) == len(data.index)
    assert torch.equal(lens, live.encoder_out_lens)
    for row, length in enumerate(lens.tolist()):
        torch.testing.assert_close(frames[row, :length], live.encoder_out[row, :length], atol=5e-3, rtol=5e-3)
        torch.testing.assert_close(
            log_probs[row, :length], live.ctc_log_probs[row, :length], atol=2e-2, rtol=5e-3
        )


def test_kept_outputs_are_read_again_and_not_made_again(
    fabric: Fabric, make_config: Make, trained_encoder: str, tmp_path: Path
) -> None:
    cfg = make_config("speech_llm", init_from=trained_encoder)
    data, said = TrainingData.open(cfg), []
    build_task(fabric, cfg, data, said.append)
    first = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("encoder_outputs/*/*"))]
    build_task(fabric, cfg, data, said.append)

    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("encoder_outputs/*/*"))] == first
    assert len(said) == 1


def test_outputs_that_take_too_much_memory_are_not_kept(
    fabric: Fabric, make_config: Make, trained_encoder: str
) -> None:
    cfg = make_config("speech_llm", init_from=trained_encoder, cache_gib=1e-9)
    said: list[str] = []
    _, cache = build_task(fabric, cfg, TrainingData.open(cfg), said.append)

    assert cache is None
    assert "more than cache_gib=1e-09" in said[0]


def test_other_weights_give_another_key() -> None:
    torch.manual_seed(0)
    keys = {key_of(torch.nn.Linear(2, 2), "data") for _ in range(2)}

    assert len(keys) == 2


def test_batches_without_audio_are_those_with_audio(fabric: Fabric, make_config: Make) -> None:
    cfg = make_config()
    data = TrainingData.open(cfg)
    pairs = zip(audio_batches(fabric, cfg, data, 3), text_batches(fabric, cfg, data, 3), strict=False)

    for (heard, read), _ in zip(pairs, range(5), strict=False):
        assert (heard.ids, heard.texts, heard.langs) == (read.ids, read.texts, read.langs)


def test_batches_without_audio_leave_unknown_utterances_out(fabric: Fabric, make_config: Make) -> None:
    cfg = make_config()
    known = {"hi-0", "hi-1"}
    stream = text_batches(fabric, cfg, TrainingData.open(cfg), 0, known)

    assert all(set(next(stream).ids) <= known for _ in range(10))


def first_is_damaged(index, row, rate):
    if row == 0:
        raise CorruptAudio("cannot be decoded")
    return read_audio(index, row, rate)


def test_damaged_audio_is_left_out_of_the_kept_outputs_and_listed(
    fabric: Fabric, make_config: Make, trained_encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = make_config("speech_llm", init_from=trained_encoder)
    monkeypatch.setattr(sources, "read_audio", first_is_damaged)
    data = TrainingData.open(cfg)
    _, cache = build_task(fabric, cfg, data, quiet)

    assert cache is not None
    assert len(cache) == len(data.index) - 1
    assert [line["id"] for line in read_ledger(sources.quarantine_ledger(cfg))] == [data.index.row(0).id]


def test_damaged_audio_of_the_validation_is_listed(
    fabric: Fabric, make_config: Make, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = make_config()
    cfg.data.valid_index = str(corpus / "index")
    data = TrainingData.open(cfg)
    task, _ = build_task(fabric, cfg, data, quiet)
    validate = make_validator(fabric, cfg, task)
    assert validate is not None
    monkeypatch.setattr(loader, "read_audio", first_is_damaged)

    assert validate(Moment(4, 4))["utterances"] == len(data.index) - 1
    assert [line["id"] for line in read_ledger(sources.quarantine_ledger(cfg))] == [data.index.row(0).id]


def test_projector_that_does_not_go_on_is_said(
    fabric: Fabric, make_config: Make, trained_encoder: str
) -> None:
    first = make_config("speech_llm", init_from=trained_encoder, cache_encoder=False)
    run_stage(first, fabric, Capabilities())
    model = f"{first.out_dir}/model"
    said: list[str] = []
    build.build_speech_llm(make_config("speech_llm", init_from=model), said.append)
    assert said == []
    build.build_speech_llm(make_config("speech_llm", init_from=model, projector=MLPProjector()), said.append)
    assert said == [f"speech_llm: projector mlp starts fresh, {model} holds ctc_compress"]


def test_an_llm_that_cannot_be_loaded_is_one_sentence(
    fabric: Fabric, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object) -> None:
        raise OSError("We couldn't connect to the hub.\nSee the page on offline mode.")

    monkeypatch.setattr(build, "load_llm", offline)
    cfg = make_config("text_copy")
    cfg.llm.path = "owner/name"
    with pytest.raises(ConfigError, match=r"llm\.path: owner/name cannot be loaded: .*hub\. See"):
        run_stage(cfg, fabric, Capabilities())
