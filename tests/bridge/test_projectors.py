"""The contract, over every installed projector: ours, and those that other packages add."""

import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

import maya_bridge
import maya_encoder.prefix_states as unit_states_of_the_encoder
from maya_bridge.injection_hooks import injected
from maya_bridge.llm import LLMConfig, load_llm
from maya_bridge.projectors import Projector, UnitStates
from maya_bridge.speech_llm import EncodedSpeech
from maya_bridge.unit_index import unit_index
from maya_encoder.plugins import available, find

SMALL = {
    "qformer": {"hidden_size": 32, "num_heads": 2, "window": 4, "num_queries": 2},
    "salsa": {"bottleneck": 16, "num_heads": 2},
}
NAMES = sorted(available("projectors"))
VARIANTS = [
    ("mlp", {"stride": 1}),
    ("mlp", {"stride": 4}),
    ("salsa", {"skip": "window"}),
    ("salsa", {"skip": "predictor"}),
]
CASES = [pytest.param(name, {}, id=name) for name in NAMES]
CASES += [
    pytest.param(name, other, id=f"{name}-{'-'.join(map(str, other.values()))}") for name, other in VARIANTS
]
every_projector = pytest.mark.parametrize(("name", "other"), CASES)
V, D, H, Z, RMS = 12, 24, 32, 20, 0.5


def config(name, other=()):
    return find("projectors", name)(**{**SMALL.get(name, {}), **dict(other)})


def build(name, other=(), embed_rms=RMS):
    torch.manual_seed(0)
    return (
        config(name, other).build(in_dim=D, out_dim=H, embed_rms=embed_rms, vocab_size=V, state_dim=Z).eval()
    )


def stir(projector):
    """Move every weight, as training does: what starts at zero hides nothing any more."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in projector.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return projector


def speech(lens, seed=0):
    """Arguments of a projector for utterances of `lens` frames; units are about a third of the frames."""
    generator = torch.Generator().manual_seed(seed)
    size, frames, units = len(lens), max(lens), max(lens) // 3
    unit_lens = torch.tensor([count // 3 for count in lens])
    log_probs = (3 * torch.randn(size, frames, V, generator=generator)).log_softmax(-1)
    states = torch.randn(size, units + 1, Z, generator=generator)
    ends = torch.arange(1, units + 1).expand(size, -1)
    return {
        "encoder_out": torch.randn(size, frames, D, generator=generator),
        "encoder_out_lens": torch.tensor(lens),
        "ctc_log_probs": log_probs.bfloat16().float(),
        "units": UnitStates(states, unit_lens, ends),
    }


def alone(given, row):
    """One utterance of a batch, without its padding."""
    frames, count = int(given["encoder_out_lens"][row]), int(given["units"].unit_lens[row])
    states, ends = given["units"].states[row : row + 1], given["units"].char_ends[row : row + 1]
    return {
        "encoder_out": given["encoder_out"][row : row + 1, :frames],
        "encoder_out_lens": given["encoder_out_lens"][row : row + 1],
        "ctc_log_probs": given["ctc_log_probs"][row : row + 1, :frames],
        "units": UnitStates(states[:, : count + 1], torch.tensor([count]), ends[:, :count]),
    }


def inside(out):
    """The speech vectors that exist."""
    return out.speech_embeds[torch.arange(out.speech_embeds.shape[1]) < out.speech_embeds_lens[:, None]]


def injections(out, rows, dtype=torch.float32):
    """What comes out of each injected layer for fixed hidden states, zeros without an injection."""
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(8, 6, H, generator=generator)[rows].to(dtype)
    index = torch.tensor([[0, 0, 1, 2, 3, 9]]).expand(len(rows), -1)
    if out.injection is None:
        return torch.zeros(1)
    return torch.stack([out.injection(layer, hidden, index) for layer in out.injection.layers], dim=1)


class Reader:
    """A tiny LLM that reads speech and is scored on texts."""

    def __init__(self, letters):
        llm = LLMConfig(source="tiny", script="common", hidden_size=H, num_heads=2)
        self.llm, self.tokenizer = load_llm(llm, [" ", *letters])

    def loss(self, projector, given, texts):
        """Mean cross-entropy of text and <eos>, and the projector's own losses."""
        out = projector(**given)
        embed, tokenizer = self.llm.get_input_embeddings(), self.tokenizer
        rows, labels = [], []
        for row, text in enumerate(texts):
            speech_embeds = out.speech_embeds[row, : out.speech_embeds_lens[row]]
            ids = [*tokenizer.encode(text, "hi"), tokenizer.eos_id]
            after = [tokenizer.special_id("<|transcribe|>"), *ids]
            parts = embed(torch.tensor([tokenizer.bos_id])), speech_embeds, embed(torch.tensor(after))
            rows.append(torch.cat(parts))
            labels.append(torch.tensor([-100] * (len(rows[-1]) - len(ids)) + ids))
        labels = pad_sequence(labels, True, -100)
        ids = labels.masked_fill(labels < 0, tokenizer.pad_id)
        index = unit_index(ids, tokenizer, given["units"].char_ends, given["units"].unit_lens)
        mask = torch.arange(labels.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
        with injected(self.llm, out.injection, index):
            logits = self.llm(inputs_embeds=pad_sequence(rows, True), attention_mask=mask.long()).logits
        told = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return told + sum(out.aux_losses.values())


@pytest.fixture
def reader(letters):
    torch.manual_seed(0)
    return Reader(letters)


@every_projector
def test_projector_satisfies_the_contract(name, other):
    projector = build(name, other)

    assert isinstance(projector, Projector)
    assert projector.needs <= {"ctc", "units"}
    assert all(field.default is not field.default_factory for field in fields(config(name)))
    assert config(name).name == name


@every_projector
def test_padding_changes_nothing(name, other):
    projector = stir(build(name, other))
    given = speech([21, 13, 6, 1])

    with torch.no_grad():
        batch = projector(**given)
        for row in range(4):
            one = projector(**alone(given, row))
            count = int(one.speech_embeds_lens[0])
            assert int(batch.speech_embeds_lens[row]) == count
            torch.testing.assert_close(
                batch.speech_embeds[row, :count], one.speech_embeds[0, :count], atol=1e-5, rtol=1e-4
            )
            if one.injection is not None:
                mixed = injections(batch, [0, 1, 2, 3])[row], injections(one, [row])[0]
                torch.testing.assert_close(*mixed, atol=1e-5, rtol=1e-4)


@every_projector
def test_whatever_stands_in_the_padding_is_not_read(name, other):
    projector = stir(build(name, other))
    given = speech([21, 13, 6, 1])
    spoilt = {
        **given,
        "encoder_out": given["encoder_out"].clone(),
        "ctc_log_probs": given["ctc_log_probs"].clone(),
    }
    states = given["units"].states.clone()
    for row, (frames, units) in enumerate([(21, 7), (13, 4), (6, 2), (1, 0)]):
        spoilt["encoder_out"][row, frames:] = 1e4
        spoilt["ctc_log_probs"][row, frames:] = -1.0
        states[row, units + 1 :] = 1e4
    spoilt["units"] = UnitStates(states, given["units"].unit_lens, given["units"].char_ends)

    with torch.no_grad():
        clean, dirty = projector(**given), projector(**spoilt)

    assert torch.equal(inside(clean), inside(dirty))
    assert torch.equal(injections(clean, [0, 1, 2, 3]), injections(dirty, [0, 1, 2, 3]))


@every_projector
def test_out_lens_is_exact_or_a_bound(name, other):
    projector = build(name, other)
    for size in range(1, 41):
        out = projector(**speech([size], seed=size))
        found = int(out.speech_embeds_lens[0])

        assert found <= out.speech_embeds.shape[1]
        assert int(projector.out_lens(torch.tensor([size]))[0]) == projector.out_lens(size)
        assert (
            found == projector.out_lens(size)
            if projector.exact_lens
            else 1 <= found <= projector.out_lens(size)
        )


@every_projector
def test_empty_utterance_gives_no_position_and_no_nan(name, other):
    out = build(name, other)(**speech([9, 0]))

    assert int(out.speech_embeds_lens[1]) == 0
    assert out.speech_embeds.isfinite().all()
    assert all(loss.isfinite() for loss in out.aux_losses.values())


@every_projector
@pytest.mark.parametrize("embed_rms", [0.02, 1.03])
def test_output_has_the_scale_of_the_token_embeddings(name, other, embed_rms):
    projector = build(name, other, embed_rms)
    for size in range(1, 41):
        for loudness in (0.01, 1.0, 100.0):
            given = speech([size], seed=size)
            out = projector(**{**given, "encoder_out": loudness * given["encoder_out"]})
            if len(prefix := inside(out)):
                assert embed_rms / 2 < float(prefix.detach().square().mean().sqrt()) < embed_rms * 2


@every_projector
def test_bfloat16_is_close(name, other):
    projector = stir(build(name, other))
    given = speech([16, 11])
    units = UnitStates(given["units"].states.bfloat16(), given["units"].unit_lens, given["units"].char_ends)
    halves = {key: given[key].bfloat16() for key in ("encoder_out", "ctc_log_probs")}

    with torch.no_grad():
        full = projector(**given)
        wanted = injections(full, [0, 1])
        half = projector.bfloat16()(**{**given, **halves, "units": units})

    assert torch.equal(full.speech_embeds_lens, half.speech_embeds_lens)
    assert half.speech_embeds.dtype == torch.bfloat16
    torch.testing.assert_close(inside(half).float(), inside(full), atol=0.15, rtol=0.1)
    torch.testing.assert_close(injections(half, [0, 1], torch.bfloat16).float(), wanted, atol=0.1, rtol=0.1)


@every_projector
def test_every_parameter_learns_within_two_steps_behind_an_llm(name, other, reader, sentences):
    projector = build(name, other).train()
    optimizer = torch.optim.SGD(projector.parameters(), lr=0.1)
    reached = set()
    for _ in range(2):
        optimizer.zero_grad()
        reader.loss(projector, speech([31, 12, 18, 25]), sentences).backward()
        optimizer.step()
        reached |= {key for key, p in projector.named_parameters() if p.grad is not None and p.grad.any()}

    assert reached == {key for key, _ in projector.named_parameters()}


@every_projector
def test_saved_projector_comes_back(name, other, tmp_path):
    projector = stir(build(name, other))
    given = speech([21, 8])
    save_file(projector.state_dict(), tmp_path / "projector.safetensors")
    torch.manual_seed(1)
    kept = asdict(config(name, other))
    fresh = find("projectors", kept["name"])(**kept).build(
        in_dim=D, out_dim=H, embed_rms=RMS, vocab_size=V, state_dim=Z
    )
    fresh.load_state_dict(load_file(tmp_path / "projector.safetensors"), strict=True)

    with torch.no_grad():
        before, after = projector(**given), fresh.eval()(**given)

    assert torch.equal(before.speech_embeds, after.speech_embeds)
    assert torch.equal(injections(before, [0, 1]), injections(after, [0, 1]))


@every_projector
def test_a_tiny_model_learns_eight_utterances_by_heart(name, other, reader, letters):
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(len(letters), (8, 5), generator=generator).tolist()
    texts = ["".join(letters[i] for i in pick) for pick in picks]
    given = speech([15, 18, 21, 15, 30, 16, 22, 19])
    projector = build(name, other).train()
    optimizer = torch.optim.AdamW([*projector.parameters(), *reader.llm.parameters()], lr=5e-3)
    for _ in range(200):
        optimizer.zero_grad()
        loss = reader.loss(projector, given, texts)
        if loss < 0.05:
            break
        loss.backward()
        torch.nn.utils.clip_grad_norm_(projector.parameters(), 1.0)
        optimizer.step()

    assert loss < 0.05


@pytest.mark.parametrize("name", [name for name in NAMES if "units" not in build(name).needs])
def test_speech_may_come_from_a_half_precision_cache(name, make_model, spell, sentences):
    model = make_model(config(name))
    speech = spell(sentences)
    cached = EncodedSpeech(speech.encoder_out.half(), speech.encoder_out_lens, speech.ctc_log_probs.half())

    full, half = (float(model.loss(s, sentences, ["hi"] * 4).loss_sum.detach()) for s in (speech, cached))

    assert half == pytest.approx(full, rel=1e-2)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("mlp", "stride", 0),
        ("stack", "stride", 0),
        ("qformer", "num_queries", 0),
        ("ctc_compress", "blank_threshold", 0.0),
        ("smear_moe", "num_experts", 0),
        ("smear_moe", "balance", -1.0),
        ("salsa", "window", 0),
        ("salsa", "source", "whisper"),
        ("salsa", "skip", "all"),
        ("salsa", "num_heads", 7),
    ],
)
def test_a_bad_value_is_named(name, field, value):
    with pytest.raises(ValueError, match=rf"`{field}` must .*, got {value}"):
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


@pytest.mark.parametrize("name", ["mlp", "stack", "smear_moe"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_a_stride_keeps_the_last_frames_of_any_length(name, stride):
    projector = find("projectors", name)(stride=stride).build(in_dim=D, out_dim=H, embed_rms=RMS).eval()
    for size in range(1, 14):
        frames = torch.randn(1, size, D)
        changed = frames.clone()
        changed[:, -1] *= -1
        out, other = (projector(f, torch.tensor([size])).speech_embeds for f in (frames, changed))
        assert out.shape[1] == projector.out_lens(size) == -(-size // stride)
        assert not torch.allclose(out[:, -1], other[:, -1])
