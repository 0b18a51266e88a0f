"""The commands open what the fork's code writes: a small stand-in, as no checkpoint is downloaded."""

import io
import json
import runpy
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

STAND_IN = Path(__file__).parents[1] / "encoder" / "test_ai4bharat.py"


def write_archive(path):
    """An archive as the fork of NeMo writes it, of two languages and one layer."""
    made = runpy.run_path(str(STAND_IN))
    torch.manual_seed(0)
    weights = io.BytesIO()
    torch.save({**made["encoder_tensors"](), **made["fork_tensors"](2)}, weights)
    members = {
        f"./0f_{lang}_tokenizer.model": made["tokenizer_model"](text) for lang, text in made["TEXTS"].items()
    }
    members |= {"./model_config.yaml": json.dumps(made["fork_config"]()).encode()}
    members |= {"./model_weights.ckpt": weights.getvalue()}
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.long
def test_the_commands_open_transcribe_keep_and_export(example, follow):
    pytest.importorskip("onnxruntime")
    onnx_asr = pytest.importorskip("onnx_asr")
    folder = example("open_ai4bharat")
    write_archive(folder / "indicconformer.nemo")
    samples = np.random.default_rng(0).normal(0, 0.1, 16000).clip(-1, 1)
    soundfile.write(folder / "audio.wav", samples, 16000)
    printed = follow(folder)
    assert "of 1 x 16, heads " in printed
    assert "languages hi bn" in printed
    assert "wrote opened" in printed
    card = (folder / "indicconformer-onnx/README.md").read_text()
    assert "# indicconformer-hi" in card
    assert "To be decided before this is published" in card
    theirs = onnx_asr.load_model("nemo-conformer-ctc", folder / "indicconformer-onnx")
    assert isinstance(theirs.recognize(str(folder / "audio.wav")), str)
