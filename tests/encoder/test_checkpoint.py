import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import maya_encoder
from maya_encoder.checkpoint import BadCheckpoint, load, read_config, read_tensors, save
from maya_encoder.plugins import UnknownPlugin

AUDIO = [np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)]


@pytest.fixture
def folder(model, tmp_path):
    save(model, tmp_path / "model")
    return tmp_path / "model"


def edit(folder, **values):
    path = folder / "config.yaml"
    OmegaConf.save(OmegaConf.merge(OmegaConf.load(path), values), path)


def test_loaded_model_hears_what_the_saved_one_heard(model, folder):
    loaded = maya_encoder.load(folder)
    assert not loaded.training
    for head in ("ctc", "rnnt"):
        assert loaded.transcribe(AUDIO, "bn", head=head) == model.transcribe(AUDIO, "bn", head=head)


def test_config_says_what_the_model_is_made_of(folder):
    config = read_config(folder)
    assert config["format"] == 1
    assert config["package"] == {"maya_encoder": maya_encoder.__version__}
    assert config["tokenizer"] == {"models": ["asr"], "script": "common"}
    assert config["heads"]["rnnt"]["name"] == "rnnt"
    assert config["langs"] == ["hi", "bn", "en"]


def test_saving_again_replaces_and_leaves_nothing_behind(model, folder):
    save(model, folder, extra_config={"note": "second"})
    assert read_config(folder)["note"] == "second"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_failed_save_keeps_the_old_model(model, folder):
    def fail(_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save(model, folder, write_more=fail)
    load(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_save_does_not_replace_a_folder_of_other_files(model, tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(BadCheckpoint, match="holds other files and no model"):
        save(model, tmp_path)


def test_tensors_of_a_projector_are_left_alone(model, tmp_path):
    save(model, tmp_path / "m", extra_tensors={"projector.weight": torch.ones(2)})
    assert "projector.weight" in read_tensors(tmp_path / "m")
    assert "projector.weight" not in load(tmp_path / "m").state_dict()


def test_folder_without_model_names_what_is_missing(tmp_path):
    with pytest.raises(
        BadCheckpoint, match=r"is no model folder: config\.yaml, model\.safetensors, .* is missing"
    ):
        load(tmp_path)


def test_unknown_format_is_refused_with_both_numbers(folder):
    edit(folder, format=7)
    with pytest.raises(BadCheckpoint, match=r"has format 7, this maya_encoder .* reads 1"):
        load(folder)


def test_unknown_plugin_is_named(folder):
    edit(folder, encoder={"name": "zipformer"})
    with pytest.raises(UnknownPlugin, match="no encoders named 'zipformer'"):
        load(folder)


def test_import_path_in_a_checkpoint_is_never_followed(folder):
    edit(folder, encoder={"name": "os:system"})
    with pytest.raises(UnknownPlugin, match="no encoders named 'os:system'"):
        load(folder)


def test_unknown_field_is_named(folder):
    edit(folder, encoder={"rotary": True})
    with pytest.raises(BadCheckpoint, match="encoders 'fastconformer' here has no field rotary"):
        load(folder)


def test_unknown_front_end_argument_is_named(folder):
    edit(folder, frontend={"window": 400})
    with pytest.raises(BadCheckpoint, match=r"does not fit this maya_encoder: .*'window'"):
        load(folder)


def test_bad_value_names_the_file_and_the_field(folder):
    edit(folder, encoder={"num_layers": 0})
    with pytest.raises(
        BadCheckpoint, match=r"config\.yaml: encoders 'fastconformer': `num_layers` must be 1 or more"
    ):
        load(folder)


def test_checkpoint_from_another_recipe_names_the_tensors(folder):
    edit(folder, encoder={"num_layers": 2})
    with pytest.raises(BadCheckpoint, match=r"another recipe.*encoder\.layers\.1\.\S+ is missing.* more"):
        load(folder)


def test_wrong_shapes_are_named(folder):
    edit(folder, heads={"rnnt": {"joint_size": 4}})
    with pytest.raises(BadCheckpoint, match=r"heads\.rnnt\.joint\.\S+ is \[8.*\] where the model has \[4"):
        load(folder)


def test_damaged_weights_are_named(folder):
    (folder / "model.safetensors").write_bytes(b"xx")
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors is damaged"):
        load(folder)
