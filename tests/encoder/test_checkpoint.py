import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

import maya_encoder
from maya_encoder.checkpoint import BadCheckpoint, load, read_config, read_tensors, save
from maya_encoder.plugins import UnknownPlugin
from maya_encoder.tokenizer import Tokenizer

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
        assert loaded.transcribe(AUDIO, lang="bn", head=head) == model.transcribe(AUDIO, lang="bn", head=head)


def test_config_says_what_the_model_is_made_of(folder):
    config = read_config(folder)
    assert config["format"] == 1
    assert config["package"] == {"maya_encoder": maya_encoder.__version__}
    assert config["tokenizer"] == {"models": ["asr"], "script": "common", "vocab_size": 27}
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


def test_what_is_no_model_is_said_to_be_none(tmp_path):
    with pytest.raises(BadCheckpoint, match="is no checkpoint that this package knows; those are: a Maya"):
        load(tmp_path)
    with pytest.raises(BadCheckpoint, match="nowhere does not exist"):
        load("nowhere")


def test_folder_with_a_config_alone_names_what_is_missing(folder):
    (folder / "model.safetensors").unlink()
    (folder / "tokenizer" / "tokenizer.yaml").unlink()
    with pytest.raises(
        BadCheckpoint, match=r"no model folder: model\.safetensors, tokenizer/tokenizer\.yaml is missing"
    ):
        load(folder)


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


def rewrite(folder, change):
    tensors = read_tensors(folder)
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_missing_tensors_are_counted_and_the_first_named(folder):
    edit(folder, encoder={"num_layers": 2})
    wanted = r"another recipe.*fit: 29 missing \(encoder\.layers\.1\.\S+, \S+, \S+ and 26 more\)$"
    with pytest.raises(BadCheckpoint, match=wanted):
        load(folder)


def test_unexpected_tensors_are_counted_and_named(folder):
    rewrite(folder, lambda tensors: tensors.update({f"decoder.{i}": torch.ones(1) for i in range(2)}))
    with pytest.raises(BadCheckpoint, match=r"fit: 2 unexpected \(decoder\.0, decoder\.1\)$"):
        load(folder)


def test_wrong_shapes_are_counted_and_named(folder):
    edit(folder, heads={"rnnt": {"joint_size": 4}})
    wanted = (
        r"fit: 5 of another shape \(heads\.rnnt\.joint\.\S+ is \[8, 16\] where .* has \[4, 16\], .* 2 more"
    )
    with pytest.raises(BadCheckpoint, match=wanted):
        load(folder)


def test_every_kind_of_mistake_is_told_at_once(folder):
    def change(tensors):
        tensors["decoder.0"] = tensors.pop("heads.ctc.decoder_layers.0.bias")

    rewrite(folder, change)
    with pytest.raises(
        BadCheckpoint, match=r"fit: 1 missing \(heads\.\S+bias\); 1 unexpected \(decoder\.0\)$"
    ):
        load(folder)


def test_tokenizer_that_does_not_fit_the_heads_is_named(folder, native_models):
    Tokenizer(native_models[:1]).save(folder / "tokenizer")
    with pytest.raises(BadCheckpoint, match=r"does not fit the heads: it has 13 pieces, .* made for 27"):
        load(folder)


def test_front_end_of_the_caller_wins(folder):
    loaded = load(folder, frontend="legacy")
    assert loaded.frontend.frontend == "legacy"
    assert loaded.config.encoder.masked_subsampling is False
    assert load(folder).frontend.frontend == "modern"
    with pytest.raises(ValueError, match="`frontend` must be modern or legacy, got 'new'"):
        load(folder, "new")


def test_model_saves_itself(model, tmp_path):
    model.save(tmp_path / "m")
    assert load(tmp_path / "m").state_dict().keys() == model.state_dict().keys()


def test_model_that_knows_no_languages_comes_back(plain_model, tmp_path):
    plain_model.save(tmp_path / "m")
    loaded = load(tmp_path / "m")
    assert loaded.langs == ()
    assert loaded.transcribe(AUDIO) == plain_model.transcribe(AUDIO)


def test_config_comes_back_as_it_was(model, tmp_path):
    model.save(tmp_path / "m")
    loaded = load(tmp_path / "m").config
    assert loaded.encoder == model.config.encoder
    assert loaded.heads == model.config.heads


def test_damaged_weights_are_named(folder):
    (folder / "model.safetensors").write_bytes(b"xx")
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors is damaged"):
        load(folder)
