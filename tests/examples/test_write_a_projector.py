"""The package installs, is found by its name, learns, and keeps the contract of projectors."""

import importlib.util
import re

import pytest
import torch


@pytest.mark.long
def test_the_commands_install_it_and_train_with_it(example, follow, tmp_path):
    pytest.importorskip("hatchling")
    printed = follow(
        example("write_a_projector"),
        PIP_TARGET=str(tmp_path / "site"),  # instead of this environment
        PYTHONPATH=str(tmp_path / "site"),
        PIP_NO_INDEX="1",
    )
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+) nats", printed)]
    assert losses[-1] < 1 < losses[0]
    assert "opened tried again: PairGateModule" in printed
    assert (tmp_path / "site/pair_gate/__init__.py").is_file()


@pytest.fixture
def projector(example):
    path = example("write_a_projector") / "src/pair_gate/__init__.py"
    spec = importlib.util.spec_from_file_location("pair_gate_of_the_example", path)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    return module.PairGate(hidden_size=8).build(in_dim=6, out_dim=4, embed_rms=0.5).eval()


@torch.no_grad()
def test_padding_changes_nothing_and_lengths_are_exact(projector):
    frames = torch.randn(1, 7, 6)
    alone = projector(frames, torch.tensor([7]))
    padded = torch.cat([frames, torch.full((1, 4, 6), 99.0)], dim=1)
    together = projector(padded.repeat(2, 1, 1), torch.tensor([7, 11]))
    assert alone.speech_embeds_lens.tolist() == [4]
    assert alone.speech_embeds.shape == (1, 4, 4)
    assert together.speech_embeds_lens.tolist() == [4, 6]
    torch.testing.assert_close(together.speech_embeds[:1, :4], alone.speech_embeds)
