import re
from pathlib import Path

import pytest
import torch

import maya_bridge
import maya_encoder.prefix_states as unit_states_of_the_encoder
from maya_bridge.projectors import Projector
from maya_bridge.speech_llm import EncodedSpeech
from maya_encoder.plugins import available, find

SMALL = {"qformer": {"hidden_size": 32, "num_heads": 2, "window": 4, "num_queries": 2}}
NAMES = sorted(name for name, point in available("projectors").items() if "maya_bridge" in point.value)
V, D, H, RMS = 12, 24, 32, 0.5


def config(name):
    return find("projectors", name)(**SMALL.get(name, {}))


def build(name):
    torch.manual_seed(0)
    return config(name).build(in_dim=D, out_dim=H, embed_rms=RMS, vocab_size=V).eval()


def speech(size, frames, seed=0):
    generator = torch.Generator().manual_seed(seed)
    log_probs = (3 * torch.randn(size, frames, V, generator=generator)).log_softmax(-1)
    return torch.randn(size, frames, D, generator=generator), log_probs


@pytest.mark.parametrize("name", NAMES)
def test_projector_satisfies_the_contract(name):
    projector = build(name)

    assert isinstance(projector, Projector)
    assert projector.needs <= {"ctc", "units"}


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing(name):
    projector = build(name)
    frames, log_probs = speech(3, 21)
    lens = torch.tensor([21, 13, 6])

    batch = projector(frames, lens, ctc_log_probs=log_probs)

    for row, size in enumerate(lens.tolist()):
        alone = projector(
            frames[row : row + 1, :size], lens[row : row + 1], ctc_log_probs=log_probs[row : row + 1, :size]
        )
        count = int(alone.speech_embeds_lens[0])
        assert int(batch.speech_embeds_lens[row]) == count
        torch.testing.assert_close(
            batch.speech_embeds[row, :count], alone.speech_embeds[0, :count], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("name", NAMES)
def test_out_lens_is_exact_or_a_bound(name):
    projector = build(name)
    for size in range(1, 41):
        frames, log_probs = speech(1, size, seed=size)
        out = projector(frames, torch.tensor([size]), ctc_log_probs=log_probs)
        found = int(out.speech_embeds_lens[0])

        assert 1 <= found <= projector.out_lens(size)
        assert found <= out.speech_embeds.shape[1]
        if projector.exact_lens:
            assert found == projector.out_lens(size)


@pytest.mark.parametrize("name", NAMES)
def test_empty_utterance_gives_no_position_and_no_nan(name):
    frames, log_probs = speech(2, 9)

    out = build(name)(frames, torch.tensor([9, 0]), ctc_log_probs=log_probs)

    assert int(out.speech_embeds_lens[1]) == 0
    assert out.speech_embeds.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_output_has_the_scale_of_the_token_embeddings(name):
    frames, log_probs = speech(8, 40)

    out = build(name)(100 * frames, torch.full((8,), 40), ctc_log_probs=log_probs)

    inside = out.speech_embeds[torch.arange(out.speech_embeds.shape[1]) < out.speech_embeds_lens[:, None]]
    assert RMS / 2 < float(inside.detach().square().mean().sqrt()) < RMS * 2


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_is_close(name):
    projector = build(name)
    frames, log_probs = speech(2, 16)
    log_probs = log_probs.bfloat16().float()
    lens = torch.tensor([16, 11])

    full = projector(frames, lens, ctc_log_probs=log_probs)
    half = projector.bfloat16()(frames.bfloat16(), lens, ctc_log_probs=log_probs.bfloat16())

    assert torch.equal(full.speech_embeds_lens, half.speech_embeds_lens)
    torch.testing.assert_close(half.speech_embeds.float(), full.speech_embeds, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns_within_two_steps_behind_an_llm(name, make_model, spell, sentences):
    model = make_model(config(name))
    optimizer = torch.optim.SGD(model.projector.parameters(), lr=0.1)
    speech = spell(sentences)
    reached = set()
    for _ in range(2):
        optimizer.zero_grad()
        model.loss(speech, sentences, ["hi"] * 4).loss_sum.backward()
        optimizer.step()
        reached |= {k for k, p in model.projector.named_parameters() if p.grad is not None and p.grad.any()}

    assert reached == {key for key, _ in model.projector.named_parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_speech_may_come_from_a_half_precision_cache(name, make_model, spell, sentences):
    model = make_model(config(name))
    speech = spell(sentences)
    cached = EncodedSpeech(speech.encoder_out.half(), speech.encoder_out_lens, speech.ctc_log_probs.half())

    full, half = (float(model.loss(s, sentences, ["hi"] * 4).loss_sum.detach()) for s in (speech, cached))

    assert half == pytest.approx(full, rel=1e-2)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("mlp", "stride", 0), ("qformer", "num_queries", 0), ("ctc_compress", "blank_threshold", 0.0)],
)
def test_a_bad_value_is_named(name, field, value):
    with pytest.raises(ValueError, match=rf"`{field}` must be .*, got {value}"):
        find("projectors", name)(**{field: value})


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="`num_heads` must divide `hidden_size` 512, got 7"):
        find("projectors", "qformer")(num_heads=7)


def test_the_projector_that_the_readme_shows_works(make_model, spell, sentences):
    readme = Path(maya_bridge.__file__).parents[2] / "README.md"
    code = next(
        c for c in re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL) if "EveryOther" in c
    )
    names = {"__name__": "shown"}
    exec(code, names)

    model = make_model(names["Skip"]())

    assert isinstance(model.projector, Projector)
    assert model.loss(spell(sentences), sentences, ["hi"] * 4).loss_sum.isfinite()


def test_units_are_those_that_the_encoder_makes():
    assert maya_bridge.UnitStates is unit_states_of_the_encoder.UnitStates


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_mlp_keeps_the_last_frames_of_any_length(stride):
    projector = find("projectors", "mlp")(stride=stride).build(in_dim=D, out_dim=H, embed_rms=RMS)
    for size in range(1, 14):
        out = projector(torch.randn(1, size, D), torch.tensor([size]))
        assert out.speech_embeds.shape[1] == projector.out_lens(size) == -(-size // stride)
