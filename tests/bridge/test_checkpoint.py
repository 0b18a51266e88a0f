import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from maya_bridge import load
from maya_bridge.checkpoint import save
from maya_encoder.checkpoint import BadCheckpoint
from maya_encoder.checkpoint import load as load_acoustic


def edit(folder, change):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_a_folder_gives_the_same_model_back(speech_llm, tmp_path):
    save(speech_llm, tmp_path / "model")

    again = load(tmp_path / "model")

    assert again.projector_config == speech_llm.projector_config
    assert again.prompt.config == speech_llm.prompt.config
    assert again.llm_tokenizer.script == speech_llm.llm_tokenizer.script
    state = again.state_dict()
    for key, tensor in speech_llm.state_dict().items():
        assert torch.equal(state[key], tensor), key
    assert not again.training


def test_folder_is_an_acoustic_checkpoint_as_well(speech_llm, tmp_path):
    save(speech_llm, tmp_path / "model", extra_config={"made_by": "a test"})

    acoustic = load_acoustic(tmp_path / "model")

    assert acoustic.state_dict().keys() == speech_llm.acoustic.state_dict().keys()
    keys = load_file(tmp_path / "model" / "model.safetensors").keys()
    assert {key.split(".")[0] for key in keys} == {"encoder", "heads", "projector"}
    assert yaml.safe_load((tmp_path / "model" / "config.yaml").read_text())["made_by"] == "a test"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_acoustic_folder_points_to_its_own_loader(acoustic_folder):
    with pytest.raises(BadCheckpoint, match=r"must hold an LLM, .*; open it with maya_encoder.load"):
        load(acoustic_folder)


def test_import_paths_in_a_checkpoint_are_not_followed(speech_llm_folder):
    edit(speech_llm_folder, lambda config: config["projector"].update(name="os:getcwd"))

    with pytest.raises(LookupError, match="no projectors named 'os:getcwd'"):
        load(speech_llm_folder)


@pytest.mark.parametrize("section", ["projector", "prompt", "llm"])
def test_an_unknown_field_is_named(section, speech_llm_folder):
    edit(speech_llm_folder, lambda config: config[section].update(colour="red"))

    with pytest.raises(BadCheckpoint, match="colour"):
        load(speech_llm_folder)


def test_a_missing_section_is_named(speech_llm_folder):
    edit(speech_llm_folder, lambda config: config.pop("prompt"))

    with pytest.raises(BadCheckpoint, match="must give prompt"):
        load(speech_llm_folder)


def test_a_projector_of_another_recipe_is_refused(speech_llm_folder):
    path = speech_llm_folder / "model.safetensors"
    tensors = load_file(path)
    tensors["projector.table"] = tensors["projector.table"][:-1].contiguous()
    save_file(tensors, path)

    with pytest.raises(BadCheckpoint, match=r"projector\.table is"):
        load(speech_llm_folder)
