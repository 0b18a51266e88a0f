import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from maya_bridge import load, load_adapters, save, save_adapters
from maya_bridge.llm import LLMConfig
from maya_bridge.projectors.ctc_compress import CTCCompress
from maya_bridge.projectors.mlp import MLPProjector
from maya_bridge.prompt import PromptConfig
from maya_bridge.speech_llm import make_speech_llm
from maya_encoder.checkpoint import BadCheckpoint


@pytest.fixture
def make(acoustic):
    def model(projector=None, seed=0, prompt=None, **llm):
        torch.manual_seed(seed)
        fields = {"source": "tiny", "script": "common", "hidden_size": 32, "num_heads": 2, **llm}
        return make_speech_llm(acoustic, projector or CTCCompress(), LLMConfig(**fields), prompt).eval()

    return model


def test_adapters_alone_make_a_fresh_model_the_same(make, tmp_path):
    trained = make(seed=1, special_rows=True, prompt=PromptConfig(positions="restart", lid_prob=0.1))
    trained.llm.special_rows.delta.data.normal_()
    other = make(seed=2, special_rows=True)
    other.llm.model.load_state_dict(trained.llm.model.state_dict())

    save_adapters(trained, tmp_path / "adapters")
    load_adapters(other, tmp_path / "adapters")

    state = other.state_dict()
    for key, tensor in trained.state_dict().items():
        assert torch.equal(state[key], tensor), key
    assert other.prompt.config == trained.prompt.config
    assert sorted(path.name for path in (tmp_path / "adapters").iterdir()) == [
        "adapters.safetensors",
        "adapters.yaml",
    ]


def test_a_plain_model_gets_the_special_rows_that_the_adapters_have(make, tmp_path):
    trained, plain = make(special_rows=True), make()
    trained.llm.special_rows.delta.data.normal_()

    save_adapters(trained, tmp_path / "adapters")
    load_adapters(plain, tmp_path / "adapters")

    assert torch.equal(plain.llm.special_rows.delta, trained.llm.special_rows.delta)


def test_lora_is_among_the_adapters(make, tmp_path):
    pytest.importorskip("peft")
    trained, plain = make(lora_rank=4), make()
    for name, parameter in trained.llm.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(0))

    save_adapters(trained, tmp_path / "adapters")
    load_adapters(plain, tmp_path / "adapters")

    ids = torch.arange(5)[None]
    torch.testing.assert_close(plain.llm(ids).logits, trained.llm(ids).logits)


def test_llm_and_encoder_are_not_among_the_adapters(make, tmp_path):
    save_adapters(make(special_rows=True), tmp_path / "adapters")

    keys = load_file(tmp_path / "adapters" / "adapters.safetensors")
    assert {key.split(".")[0] for key in keys} == {"projector", "llm"}
    assert [key for key in keys if key.startswith("llm.")] == ["llm.special_rows.delta"]


def test_big_adapters_stay_under_fifty_megabytes(make, tmp_path):
    model = make(MLPProjector(hidden_size=200_000))
    assert sum(4 * p.numel() for p in model.projector.parameters()) > 38_000_000
    model.projector.extra = torch.nn.Parameter(torch.randn(4_000_000))

    save_adapters(model, tmp_path / "adapters")
    load_adapters(model, tmp_path / "adapters")

    assert sum(path.stat().st_size for path in (tmp_path / "adapters").iterdir()) < 50_000_000


def test_adapters_are_replaced_whole_and_nothing_else_is(make, tmp_path):
    model = make()
    for _ in range(2):
        save_adapters(model, tmp_path / "adapters")
    assert [path.name for path in tmp_path.iterdir()] == ["adapters"]

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(BadCheckpoint, match="holds other files and no adapters"):
        save_adapters(model, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda make: make(MLPProjector()), "holds adapters of projector ctc_compress, this model has mlp"),
        (
            lambda make: make(CTCCompress(hidden_size=8)),
            "of projector ctc_compress with hidden_size=None, this model has 8",
        ),
        (lambda make: make(script="native"), "holds adapters made for script common, this model has native"),
        (lambda make: make(hidden_size=64), "its tensors do not fit: .*projector"),
    ],
)
def test_adapters_of_another_model_are_refused_in_one_sentence(other, message, make, tmp_path):
    save_adapters(make(), tmp_path / "adapters")
    model = other(make)
    before = {key: value.clone() for key, value in model.state_dict().items()}

    with pytest.raises(BadCheckpoint, match=message) as told:
        load_adapters(model, tmp_path / "adapters")

    assert "\n" not in str(told.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "adapters.yaml").unlink(), "holds no adapters"),
        (lambda folder: (folder / "adapters.safetensors").write_bytes(b"x"), "holds no usable adapters"),
        (lambda folder: edit(folder, format=7), "has format 7, this maya_bridge reads 1"),
        (lambda folder: edit(folder, prompt={"colour": "red"}), "holds no usable adapters: .*colour"),
    ],
)
def test_damaged_adapters_are_named(change, message, make, tmp_path):
    save_adapters(make(), tmp_path / "adapters")
    change(tmp_path / "adapters")

    with pytest.raises(BadCheckpoint, match=message):
        load_adapters(make(), tmp_path / "adapters")


def edit(folder, **fields):
    path = folder / "adapters.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | fields))


def test_a_saved_model_has_what_was_trained_folded_in(make, tmp_path):
    model = make(special_rows=True)
    model.llm.special_rows.delta.data.normal_()
    save(model, tmp_path / "model")

    again = load(tmp_path / "model")

    assert not hasattr(again.llm, "special_rows")
    ids = torch.arange(12)[None]
    torch.testing.assert_close(again.llm(ids).logits, model.llm(ids).logits)


def test_a_folder_whose_config_names_another_projector_is_refused_in_one_sentence(make, tmp_path):
    save(make(), tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    other = make(MLPProjector()).projector.state_dict()
    kept = {key: value for key, value in tensors.items() if not key.startswith("projector.")}
    save_file(
        {**kept, **{f"projector.{key}": value for key, value in other.items()}},
        tmp_path / "model" / "model.safetensors",
    )

    with pytest.raises(BadCheckpoint, match="is a checkpoint from another recipe") as told:
        load(tmp_path / "model")
    assert "\n" not in str(told.value)
