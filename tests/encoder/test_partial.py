"""A model starts from parts of another, and a report says which."""

import json

import pytest
import torch

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.checkpoint import save
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.interop.parakeet_export import save_parakeet
from maya_encoder.partial import load_into
from maya_encoder.tokenizer import Tokenizer


def make_model(tokenizer, seed, num_mels=16, **encoder):
    torch.manual_seed(seed)
    sizes = {"num_layers": 2, "hidden_size": 16, "num_heads": 2, "subsampling_channels": 4}
    config = AcousticModelConfig(
        encoder=FastConformerConfig(**{**sizes, **encoder}),
        heads={"ctc": CTCConfig()},
        langs=("hi", "bn", "en"),
        frontend={"num_mels": num_mels},
    )
    return AcousticModel(config, tokenizer)


@pytest.fixture
def donor(tokenizer, tmp_path):
    model = make_model(tokenizer, seed=1)
    save(model, tmp_path / "donor")
    return model, tmp_path / "donor"


def names_below(model, prefix):
    return [name for name in model.state_dict() if name.startswith(prefix)]


def test_encoder_is_taken_and_the_head_is_not(tokenizer, donor):
    other, path = donor
    model = make_model(tokenizer, seed=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = load_into(model, path)
    assert report.loaded == names_below(model, "encoder.")
    assert report.skipped == sorted(names_below(model, "heads."))
    assert report.missing == []
    for name, tensor in model.state_dict().items():
        source = other.state_dict() if name.startswith("encoder.") else before
        assert torch.equal(tensor, source[name]), name


def test_excluded_part_stays_as_it_was(tokenizer, donor):
    _, path = donor
    model = make_model(tokenizer, seed=2, num_mels=32)
    before = model.encoder.pre_encode.out.weight.clone()
    report = load_into(model, path, include=["encoder"], exclude=["encoder.pre_encode.out"])
    assert torch.equal(model.encoder.pre_encode.out.weight, before)
    assert "encoder.pre_encode.out.weight" in report.skipped
    assert "encoder.pre_encode.conv.0.weight" in report.loaded


def test_wrong_shapes_are_named_and_nothing_is_changed(tokenizer, donor):
    _, path = donor
    model = make_model(tokenizer, seed=2, num_mels=32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    wanted = r"encoder\.pre_encode\.out\.weight is \[16, 8\] where the model has \[16, 16\]; leave them out"
    with pytest.raises(ValueError, match=wanted):
        load_into(model, path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_layers_that_the_checkpoint_lacks_are_reported(tokenizer, donor):
    _, path = donor
    model = make_model(tokenizer, seed=2, num_layers=3)
    report = load_into(model, path)
    assert report.missing == names_below(model, "encoder.layers.2.")
    assert str(report).startswith(f"loaded {len(report.loaded)} tensors")


def test_prefixes_are_whole_parts_of_names(tokenizer, tmp_path):
    save(make_model(tokenizer, seed=1, num_layers=11), tmp_path / "deep")
    model = make_model(tokenizer, seed=2, num_layers=11)
    report = load_into(model, tmp_path / "deep", include=["encoder.layers.1"])
    assert all(name.startswith("encoder.layers.1.") for name in report.loaded)


def test_head_is_taken_when_asked_for(tokenizer, donor):
    other, path = donor
    model = make_model(tokenizer, seed=2)
    load_into(model, path, include=["heads.ctc"])
    assert torch.equal(
        model.heads["ctc"].decoder_layers[0].weight, other.heads["ctc"].decoder_layers[0].weight
    )


@pytest.mark.parametrize("prefixes", [{"include": ["encodr"]}, {"exclude": ["encoder.preencode"]}])
def test_misspelt_prefix_is_named(tokenizer, donor, prefixes):
    _, path = donor
    with pytest.raises(
        ValueError, match=r"has a tensor below 'enco.*; their names begin with: encoder, heads"
    ):
        load_into(make_model(tokenizer, seed=2), path, **prefixes)


def test_a_bare_string_is_no_list_of_prefixes(tokenizer, donor):
    with pytest.raises(ValueError, match="must be lists of prefixes, got 'encoder'"):
        load_into(make_model(tokenizer, seed=2), donor[1], include="encoder")


def test_part_that_only_the_model_has_is_named(tokenizer, donor):
    model = make_model(tokenizer, seed=2, lang_embedding="output")
    with pytest.raises(
        ValueError, match=r"has no tensor below 'encoder\.lang_embedding' that the model has too"
    ):
        load_into(model, donor[1], include=["encoder.lang_embedding"])


def test_hugging_face_folder_gives_its_encoder(common_model, tmp_path):
    tokenizer = Tokenizer([common_model])
    other = make_model(tokenizer, seed=1)
    save_parakeet(other, tmp_path / "hf")
    (tmp_path / "hf/tokenizer.json").unlink()
    config = json.loads((tmp_path / "hf/config.json").read_text())
    (tmp_path / "hf/config.json").write_text(json.dumps({**config, "model_type": "canary"}))
    model = make_model(tokenizer, seed=2)
    report = load_into(model, tmp_path / "hf")
    assert report.loaded == names_below(model, "encoder.")
    for name in report.loaded:
        assert torch.equal(model.state_dict()[name], other.state_dict()[name]), name
