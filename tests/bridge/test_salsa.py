from dataclasses import replace

import pytest
import torch

from maya_bridge.injection_hooks import injected
from maya_bridge.llm import LLMConfig, load_llm
from maya_bridge.projectors import UnitStates
from maya_bridge.projectors.salsa import Salsa
from maya_bridge.projectors.salsa_adapters import rms, skip_loss
from maya_bridge.speech_llm import make_speech_llm
from maya_encoder import AcousticModel
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig

D, H, Z = 8, 32, 12
IDS = torch.tensor([[2, 5, 20, 21, 22], [2, 5, 23, 20, 25]])
INDEX = torch.tensor([[0, 0, 1, 2, 4], [0, 0, 0, 1, 2]])
SKIPS = ["none", "window", "predictor"]


def build(open_gates=True, **fields):
    torch.manual_seed(0)
    config = Salsa(**{"bottleneck": 16, "num_heads": 2, "window": 3, "layers": [0, 2], **fields})
    projector = config.build(in_dim=D, out_dim=H, embed_rms=0.5, state_dim=Z).eval()
    if open_gates:
        for adapter in projector.adapters.values():
            torch.nn.init.constant_(adapter.gate, 0.7)
    return projector


def units(seed=0):
    generator = torch.Generator().manual_seed(seed)
    states, ends = torch.randn(2, 5, Z, generator=generator), torch.arange(1, 5).expand(2, -1)
    return UnitStates(states, torch.tensor([4, 2]), ends)


def project(projector, given=None):
    return projector(torch.zeros(2, 6, D), torch.tensor([6, 3]), units=given or units())


@pytest.fixture
def llm(letters):
    torch.manual_seed(0)
    config = LLMConfig(source="tiny", script="common", hidden_size=H, num_heads=2, num_layers=3)
    return load_llm(config, [" ", *letters])[0].eval()


@pytest.mark.parametrize("skip", SKIPS)
def test_shut_gates_leave_the_llm_alone(llm, skip):
    out = project(build(open_gates=False, skip=skip))
    with torch.no_grad():
        plain = llm(IDS).logits
        with injected(llm, out.injection, INDEX):
            assert torch.equal(llm(IDS).logits, plain)


@pytest.mark.parametrize("skip", SKIPS)
def test_steps_with_a_cache_equal_one_pass(llm, skip):
    out, cache, steps = project(build(skip=skip)), None, []
    with torch.no_grad():
        with injected(llm, out.injection, INDEX):
            whole = llm(IDS).logits
        for step in range(5):
            with injected(llm, out.injection, INDEX[:, step : step + 1]):
                found = llm(IDS[:, step : step + 1], past_key_values=cache, use_cache=True)
            cache = found.past_key_values
            steps.append(found.logits)

    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_what_comes_in_has_the_scale_of_the_hidden_states(skip, size):
    injection = project(build(skip=skip)).injection
    hidden = size * torch.randn(2, 5, H)

    change = injection(0, hidden, INDEX) - hidden

    torch.testing.assert_close(rms(change), 0.604 * rms(hidden), rtol=1e-2, atol=0)


def test_without_skipping_only_the_state_of_the_text_so_far_is_read():
    projector, given = build(skip="none"), units()
    other = UnitStates(given.states.clone(), given.unit_lens, given.char_ends)
    other.states[:, 3:] *= -1
    hidden = torch.randn(2, 5, H)

    before, after = (project(projector, one).injection(0, hidden, INDEX) for one in (given, other))

    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[0, 4], after[0, 4])


@pytest.mark.parametrize("skip", ["window", "predictor"])
def test_reading_ahead_ends_with_the_window_and_with_the_units(skip):
    projector, given = build(skip=skip), units()
    hidden = torch.randn(2, 5, H)

    def changed_by(unit):
        other = UnitStates(given.states.clone(), given.unit_lens, given.char_ends)
        other.states[:, unit] += torch.randn(Z)
        before, after = (project(projector, one).injection(0, hidden, INDEX) for one in (given, other))
        return (before != after).any(dim=2).tolist()

    assert changed_by(2) == [[True, True, True, True, False], [True] * 5]  # indices 0 0 1 2 4 and 0 0 0 1 2
    assert changed_by(3) == [[False, False, True, True, False], [False] * 5]  # the second row has two units
    assert changed_by(4) == [[False, False, False, True, True], [False] * 5]


def test_rows_can_be_picked_for_a_beam():
    injection = project(build()).injection
    hidden = torch.randn(3, 5, H)
    rows = torch.tensor([1, 0, 1])

    found = injection.select(rows)(2, hidden, INDEX[rows])

    for place, row in enumerate(rows):
        one = injection.select(row[None])(2, hidden[place][None], INDEX[row][None])
        torch.testing.assert_close(found[place], one[0])


def test_every_third_layer_is_taken_unless_told():
    projector = build(layers=None)
    assert projector.layers == (0,)
    kept = projector.adapters["0"]

    projector.adopt_layers(8)

    assert projector.layers == (0, 3, 6)
    assert projector.adapters["0"] is kept
    assert project(projector).injection.layers == (0, 3, 6)


def test_layers_that_the_llm_lacks_are_refused():
    with pytest.raises(ValueError, match="`layers` of salsa must be below the LLM's number 2, got 2"):
        build(layers=[0, 2]).adopt_layers(2)
    with pytest.raises(ValueError, match=r"`layers` must name LLM layers from 0 on, got \[\]"):
        Salsa(layers=[])


def test_units_and_a_head_for_them_are_asked_for():
    with pytest.raises(ValueError, match="`units` must be given to the salsa projector, got None"):
        build()(torch.zeros(2, 6, D), torch.tensor([6, 3]))
    with pytest.raises(ValueError, match="needs an acoustic model with a head ctc, got none"):
        Salsa(source="ctc").build(in_dim=D, out_dim=H, embed_rms=0.5)


@pytest.mark.parametrize(("skip", "shown"), [("none", True), ("window", False), ("predictor", False)])
def test_only_plain_states_may_follow_the_reference(skip, shown):
    assert build(skip=skip).teacher_forced is shown


def test_the_skip_that_the_next_token_makes_is_learnt():
    index = torch.tensor([[0, 0, 2, 3, 3, 9]])
    scores = torch.full((1, 6, 3), -20.0)
    scores[0, 1, 1] = scores[0, 2, 0] = 0  # two units, then one; six at the end are more than can be skipped

    assert float(skip_loss(scores.log_softmax(-1), index)) == pytest.approx(0, abs=1e-4)
    assert float(skip_loss(scores.flip(2).log_softmax(-1), index)) > 5
    assert float(skip_loss(scores, torch.zeros(1, 6).long())) == 0


def test_the_predictor_has_a_loss_after_the_llm_ran_in_training(llm):
    projector = build(skip="predictor").train()
    out = project(projector)
    with injected(llm, out.injection, INDEX):
        llm(IDS)

    out.aux_losses["skip"].backward()

    assert all(p.grad.any() for p in projector.predictor.parameters())


@pytest.fixture(scope="module")
def two_headed(acoustic):
    """A model of the fixture's kind that has a transducer as well."""
    torch.manual_seed(0)
    config = replace(
        acoustic.config,
        heads={"ctc": CTCConfig(), "rnnt": RNNTConfig(prediction_size=8, joint_size=10, max_symbols=1)},
    )
    return AcousticModel(config, acoustic.tokenizer).eval()


def test_positions_inside_one_unit_are_told_apart_where_that_is_asked_for():
    plain, told = build(consumed=0), build(consumed=2)
    given = UnitStates(units().states, torch.tensor([4, 2]), torch.tensor([[1, 5, 6, 7], [2, 3, 0, 0]]))
    written = torch.tensor([[0, 1, 2, 3, 5], [0, 1, 2, 3, 9]])  # characters
    hidden = torch.randn(1, 1, H).expand(2, 5, H)

    injection = project(told, given).injection
    out = injection(0, hidden, written)

    assert not hasattr(plain.consumed, "weight")
    assert not project(plain, given).injection.counts_characters
    assert injection.counts_characters
    assert injection._place(written)[0].tolist() == [[0, 1, 1, 1, 2], [0, 0, 1, 2, 2]]
    assert injection._place(written)[1].tolist() == [[0, 0, 1, 1, 0], [0, 1, 0, 0, 1]]  # more count as one
    assert not torch.allclose(out[0, 1], out[0, 2])
    torch.testing.assert_close(out[0, 2], out[0, 3])
    torch.testing.assert_close(injection.select(torch.tensor([1]))(0, hidden[1:], written[1:]), out[1:])
    with pytest.raises(ValueError, match="`consumed` must be 0 or more, got -1"):
        Salsa(consumed=-1)


def test_without_that_nothing_of_the_projector_changes():
    torch.manual_seed(5)
    plain = Salsa(bottleneck=16, num_heads=2).build(in_dim=D, out_dim=H, embed_rms=0.5, state_dim=Z)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    off = Salsa(bottleneck=16, num_heads=2, consumed=0).build(in_dim=D, out_dim=H, embed_rms=0.5, state_dim=Z)

    assert torch.equal(torch.rand(1), drawn)
    assert not [name for name in plain.state_dict() if "consumed" in name]
    assert list(plain.state_dict()) == list(off.state_dict())


@pytest.mark.parametrize(
    ("source", "skip", "consumed"),
    [
        ("rnnt", "none", 0),
        ("rnnt", "predictor", 0),
        ("ctc", "window", 0),
        ("ctc", "none", 4),
        ("rnnt", "predictor", 4),
    ],
)
def test_a_speech_model_trains_and_writes_the_same_in_a_batch(two_headed, source, skip, consumed, letters):
    torch.manual_seed(0)
    llm = LLMConfig(source="tiny", script="common", hidden_size=H, num_heads=2, num_layers=4)
    salsa = Salsa(source=source, skip=skip, consumed=consumed, bottleneck=16, num_heads=2)
    model = make_speech_llm(two_headed, salsa, llm)
    texts, langs = [f"{letters[:2]} {letters[2:5]}", letters[5:9]], ["hi", "hi"]
    generator = torch.Generator().manual_seed(0)
    waveforms, lens = torch.randn(2, 8000, generator=generator), torch.tensor([8000, 5500])
    optimizer = torch.optim.SGD(model.projector.parameters(), lr=0.1)
    with torch.no_grad():
        speech = model.encode_speech(waveforms, lens, langs)
    for _ in range(2):
        optimizer.zero_grad()
        parts = model.loss(speech, texts, langs)
        (parts.loss_sum + sum(parts.aux.values())).backward()
        optimizer.step()

    assert model.projector.layers == (0, 3)
    assert parts.loss_sum.isfinite()
    assert all(adapter.gate.grad.any() for adapter in model.projector.adapters.values())
    assert not consumed or model.projector.consumed.weight.grad.any()
    model.eval()
    together = model.transcribe(
        [wave[:size].numpy() for wave, size in zip(waveforms, lens, strict=True)], "hi"
    )
    alone = [
        model.transcribe([wave[:size].numpy()], "hi")[0] for wave, size in zip(waveforms, lens, strict=True)
    ]
    assert [one.text for one in together] == [one.text for one in alone]


def test_a_model_without_the_head_is_refused(acoustic):
    llm = LLMConfig(source="tiny", script="common", hidden_size=H, num_heads=2)
    with pytest.raises(ValueError, match="needs an acoustic model with a head rnnt, got none"):
        make_speech_llm(acoustic, Salsa(), llm)
