"""Tiny models that NeMo itself made and ran: what it wrote to goldens/nemo is what this package must compute.

goldens/README.md tells how they were made. Tolerances: mel 1e-4, encoder 2e-4, log-probabilities 5e-4, losses
1e-4 relative, gradients 1e-3 relative to the largest; lengths, tokens and texts exact.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import maya_encoder
from maya_encoder.decoding import decode

FOLDER = Path(__file__).parent / "goldens" / "nemo"
NAMES = [
    "aggregate",
    "chunked",
    "ctc",
    "legacy",
    "legacy_pad",
    "limited",
    "local",
    "prompt",
    "rnnt",
    "tdt",
]
TRANSDUCERS = ["aggregate", "legacy", "local", "prompt", "rnnt", "tdt"]
CTC = [name for name in NAMES if name not in ("aggregate", "rnnt", "tdt")]


class Golden:
    """A model with what NeMo computed, and the encoder output that its heads got."""

    def __init__(self, name: str) -> None:
        self.model = maya_encoder.load(FOLDER / f"{name}.nemo")
        self.want = load_file(FOLDER / f"{name}.safetensors")
        self.texts = json.loads((FOLDER / f"{name}.json").read_text())
        shared = load_file(FOLDER / "shared.safetensors")
        self.waveforms, self.lens = shared["waveforms"], shared["waveform_lens"]
        self.mel = shared.get(f"mel.{name}")
        self.transducer = "tdt" if "tdt" in self.model.heads else "rnnt"
        self.targets = self.want["tokens"], self.want["token_lens"]

    def encode(self):
        features, feature_lens = self.model.frontend(self.waveforms, self.lens)
        return self.model.encoder(features, feature_lens)

    def states(self):
        """What the heads get: encoder output, after a prompt for Hindi, English and Hindi, and lengths."""
        out, lens = self.encode()
        if self.model.prompt is not None:
            out = self.model.prompt(out, torch.tensor([4, 0, 4]))
        return out, lens


@pytest.fixture(scope="module")
def goldens():
    made = {}

    def get(name: str) -> Golden:
        if name not in made:
            made[name] = Golden(name)
        return made[name]

    return get


def valid(lens, frames):
    return torch.arange(frames) < lens[:, None]


def assert_near(found, want, tolerance):
    assert (found - want).abs().max() <= tolerance


def assert_relative(found, want, tolerance):
    assert_near(found, want, tolerance * want.abs().max())


@pytest.mark.parametrize("name", ["ctc", "legacy"])
def test_features_are_those_of_nemo(goldens, name):
    golden = goldens(name)
    mel, lens = golden.model.frontend(golden.waveforms, golden.lens)
    assert lens.tolist() == golden.want["mel_lens"].tolist()
    assert_near(mel, golden.mel.transpose(1, 2)[:, : mel.shape[1]], 1e-4)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_encoder_output_is_that_of_nemo(goldens, name):
    golden = goldens(name)
    out, lens = golden.encode()
    assert lens.tolist() == golden.want["lens"].tolist()
    mask = valid(lens, lens.max())
    assert_near(out[:, : lens.max()][mask], golden.want["encoder"][:, : lens.max()][mask], 2e-4)


@torch.no_grad()
def test_prompted_states_are_those_of_nemo(goldens):
    golden = goldens("prompt")
    out, lens = golden.states()
    mask = valid(lens, out.shape[1])
    assert_near(out[mask], golden.want["prompted"][:, : out.shape[1]][mask], 2e-4)
    by_name = golden.model.encode(golden.waveforms, golden.lens, langs=["hi-IN", "en-US", "hi-IN"])[0]
    assert torch.equal(by_name[mask], out[mask])


@pytest.mark.parametrize("name", CTC)
@torch.no_grad()
def test_ctc_is_that_of_nemo(goldens, name):
    golden = goldens(name)
    head, (out, lens) = golden.model.heads["ctc"], golden.states()
    mask = valid(lens, out.shape[1])
    assert_near(head(out)[mask], golden.want["ctc.log_probs"][:, : out.shape[1]][mask], 5e-4)
    assert_relative(head.loss(out, lens, *golden.targets), golden.want["ctc.loss"], 1e-4)
    found = [golden.model.tokenizer.decode(row) for row in head.decode(out, lens)]
    assert found == golden.texts["ctc"]


@pytest.mark.parametrize("name", TRANSDUCERS)
@torch.no_grad()
def test_joint_network_is_that_of_nemo(goldens, name):
    golden = goldens(name)
    head, (out, lens) = golden.model.heads[golden.transducer], golden.states()
    labels = head.joint.pred(head.prediction(golden.targets[0]))
    logits = head.joint(head.joint.enc(out)[:1, : lens[0], None], labels[:1, None])[
        0
    ]  # (T, U+1, V + durations)
    want = golden.want["joint"][: len(logits)]
    parts = [logits.shape[-1] - len(head.durations), len(head.durations)] if head.durations else [-1]
    for found, part in zip(split(logits, parts), split(want, parts), strict=True):
        assert_near(found.log_softmax(-1), part.log_softmax(-1), 5e-4)


def split(tensor, parts):
    return tensor.split(parts, dim=-1) if len(parts) > 1 else [tensor]


@pytest.mark.parametrize("name", TRANSDUCERS)
@torch.no_grad()
def test_transducer_loss_is_that_of_nemo(goldens, name):
    golden = goldens(name)
    loss = golden.model.heads[golden.transducer].loss(*golden.states(), *golden.targets)
    assert_relative(loss, golden.want[f"{golden.transducer}.loss"], 1e-4)


@pytest.mark.parametrize("name", TRANSDUCERS)
def test_greedy_hypotheses_are_those_of_nemo(goldens, name):
    golden = goldens(name)
    with torch.no_grad():
        found = decode(golden.model.heads[golden.transducer], *golden.states())
    assert [row.tokens for row in found] == golden.texts[f"{golden.transducer}.tokens"]
    assert [row.frames for row in found] == golden.texts[f"{golden.transducer}.frames"]
    assert [golden.model.tokenizer.decode(row.tokens) for row in found] == golden.texts[golden.transducer]


OURS = {
    "ctc_decoder.": "heads.ctc.",
    "decoder.decoder_layers": "heads.ctc.decoder_layers",
    "decoder.": "heads.{}.",
    "joint.": "heads.{}.joint.",
    "prompt_kernel.": "prompt.",
}


def our_name(name: str, transducer: str) -> str:
    for old, new in OURS.items():
        if name.startswith(old):
            return new.format(transducer) + name.removeprefix(old)
    return name


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_nemo(goldens, name):
    golden = goldens(name)
    golden.model.zero_grad()
    states = golden.states()
    sum(head.loss(*states, *golden.targets).sum() for head in golden.model.heads.values()).backward()
    grads = {key: value.grad for key, value in golden.model.named_parameters()}
    checked = [key for key in golden.want if key.startswith("grad.")]
    assert len(checked) >= 6
    for key in checked:
        ours = our_name(key.removeprefix("grad."), golden.transducer)
        found = grads[ours]
        if name == "rnnt" and "pos_bias_u" in ours:  # one tensor in all layers there, equal ones here
            found = sum(value for other, value in grads.items() if other.endswith("pos_bias_u"))
        assert_relative(found, golden.want[key], 1e-3)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_saved_model_is_the_imported_one(goldens, name, tmp_path):
    golden = goldens(name)
    golden.model.save(tmp_path / "model")
    again = maya_encoder.load(tmp_path / "model")
    assert again.langs == golden.model.langs
    before, after = golden.model.state_dict(), again.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    found = again.encoder(*again.frontend(golden.waveforms, golden.lens))[0]
    assert torch.equal(found, golden.encode()[0])
    assert again.tokenizer.decode([0, 1]) == golden.model.tokenizer.decode([0, 1])
