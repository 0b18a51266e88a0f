"""The states before each unit: where they are read, and that padding and batch leave them alone."""

import pytest
import torch

from maya_encoder.decoding import decode
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.heads.tdt import TDTConfig
from maya_encoder.prefix_states import unit_states


@pytest.fixture
def model(model):
    with torch.no_grad():
        for head in model.heads.values():
            for parameter in head.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(4)
    return model.eval()


@pytest.fixture
def encoded():
    torch.manual_seed(3)
    return torch.randn(3, 12, 16), torch.tensor([12, 7, 1])


LANGS = ["hi", "bn", "en"]


@pytest.mark.parametrize("source", ["ctc", "rnnt"])
def test_shapes_and_lengths(model, encoded, source):
    found = unit_states(model, *encoded, source=source, langs=LANGS)
    width = {"ctc": 32, "rnnt": 8}[source]
    longest = int(found.unit_lens.max())
    assert found.states.shape == (3, longest + 1, width)
    assert found.char_ends.shape == (3, longest)
    decoded = decode(model.heads[source], *encoded, model.lang_ids(LANGS))
    assert found.unit_lens.tolist() == [len(one.tokens) for one in decoded]
    for row, count in enumerate(found.unit_lens.tolist()):
        assert not found.states[row, count + 1 :].any()
        assert not found.char_ends[row, count:].any()


def test_a_transducer_state_is_the_joint_where_the_next_unit_is_written(model, encoded):
    head = model.heads["rnnt"]
    found = unit_states(model, *encoded, langs=LANGS)
    (first, *_) = decode(head, *encoded, model.lang_ids(LANGS))
    assert len(first.tokens) > 2
    output, history = head.prediction.start(1)
    for u, frame in enumerate([*first.frames, 11]):
        hidden = head.joint.joint_net[0](head.joint.enc(encoded[0][0, frame]) + head.joint.pred(output[0]))
        torch.testing.assert_close(found.states[0, u], hidden)
        if u < len(first.tokens):
            logits = head.joint.joint_net[2](hidden)
            assert int(logits.argmax()) == first.tokens[u]
            output, history = head.prediction.step(torch.tensor([first.tokens[u]]), history)


@pytest.mark.parametrize("source", ["ctc", "rnnt"])
def test_following_a_text_alone_or_in_a_batch(model, encoded, source):
    texts = ["नम", "আমি", ""]
    units = [model.tokenizer.encode(text, lang) for text, lang in zip(texts, LANGS, strict=True)]
    together = unit_states(model, *encoded, source=source, tokens=units, langs=LANGS)
    assert together.unit_lens.tolist() == [len(row) for row in units]
    for row, count in enumerate(map(len, units)):
        lens = encoded[1][row : row + 1]
        part = encoded[0][row : row + 1, : int(lens)]
        alone = unit_states(model, part, lens, source=source, tokens=[units[row]], langs=LANGS[row : row + 1])
        torch.testing.assert_close(together.states[row, : count + 1], alone.states[0], atol=1e-5, rtol=1e-4)
        assert together.char_ends[row, :count].tolist() == alone.char_ends[0].tolist()


def test_a_tensor_of_tokens_with_lengths_is_the_same_as_lists(model, encoded):
    tokens, token_lens = model.tokenize(["नम", "আমি", "o"], LANGS)
    lists = [row[:n] for row, n in zip(tokens.tolist(), token_lens.tolist(), strict=True)]
    first = unit_states(model, *encoded, tokens=tokens, token_lens=token_lens, langs=LANGS)
    second = unit_states(model, *encoded, tokens=lists, langs=LANGS)
    torch.testing.assert_close(first.states, second.states)
    assert torch.equal(first.unit_lens, second.unit_lens)


def test_characters_are_counted_in_native_script(model, encoded):
    text = "নম আমি"
    tokens = model.tokenizer.encode(text, "bn")
    found = unit_states(model, *encoded, tokens=[tokens] * 3, langs=["bn"] * 3)
    prefixes = [len(model.tokenizer.decode(tokens[: n + 1], "bn")) for n in range(len(tokens))]
    assert found.char_ends[1].tolist() == prefixes
    assert prefixes[-1] == len(text)


def test_ctc_states_never_hold_the_next_unit(model, encoded):
    tokens = model.tokenizer.encode("hello", "en")
    found = unit_states(model, encoded[0][:1], encoded[1][:1], source="ctc", tokens=[tokens], langs=["en"])
    weight = model.heads["ctc"].decoder_layers[0].weight.squeeze(-1)
    before = [model.heads["ctc"].blank_id, *tokens]
    torch.testing.assert_close(found.states[0, :, 16:], weight[before])


def test_gradients_reach_the_encoder(model, encoded):
    for source in ("ctc", "rnnt"):
        encoder_out = encoded[0].clone().requires_grad_()
        unit_states(model, encoder_out, encoded[1], source=source, langs=LANGS).states.sum().backward()
        assert encoder_out.grad.abs().sum() > 0


def test_an_output_layer_for_each_language(model, encoded):
    torch.manual_seed(0)
    ids = torch.randperm(model.tokenizer.vocab_size).tolist()
    vocabulary = {"hi": sorted(ids[:9]), "bn": sorted(ids[9:20]), "en": sorted(ids[20:])}
    config = RNNTConfig(prediction_size=8, joint_size=8, lang_outputs=True)
    model.heads["rnnt"] = config.build(
        in_dim=16, vocab_size=model.tokenizer.vocab_size + 1, lang_vocab=vocabulary
    )
    model.eval()
    units = [vocabulary["hi"][:3], vocabulary["bn"][4:6], []]
    together = unit_states(model, *encoded, tokens=units, langs=LANGS)
    part = encoded[0][1:2, :7], encoded[1][1:2]
    alone = unit_states(model, *part, tokens=units[1:2], langs=["bn"])
    torch.testing.assert_close(together.states[1, :3], alone.states[0], atol=1e-5, rtol=1e-4)


def test_an_unknown_source_is_named(model, encoded):
    with pytest.raises(ValueError, match=r"`source` must be a head of this model \(ctc, rnnt\), got 'aed'"):
        unit_states(model, *encoded, source="aed")


def test_the_default_source_is_the_transducer_that_is_there(model, encoded):
    vocab_size = model.tokenizer.vocab_size + 1
    model.heads["tdt"] = TDTConfig(prediction_size=8, joint_size=8).build(in_dim=16, vocab_size=vocab_size)
    model.eval()
    del model.heads["rnnt"]
    found, named = (unit_states(model, *encoded, langs=LANGS, **more) for more in ({}, {"source": "tdt"}))
    assert torch.equal(found.states, named.states)
    assert torch.equal(found.char_ends, named.char_ends)


def test_a_model_without_transducer_names_what_it_has(model, encoded):
    del model.heads["rnnt"]
    with pytest.raises(ValueError, match=r"`source` must be a head of this model \(ctc\), got 'rnnt'"):
        unit_states(model, *encoded, langs=LANGS)
