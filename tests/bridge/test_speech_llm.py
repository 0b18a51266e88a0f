from dataclasses import replace

import pytest
import torch

import maya_bridge.acoustic_units as speech_llm_units
from maya_bridge.llm import LLMConfig
from maya_bridge.projectors.mlp import MLPProjector
from maya_bridge.projectors.salsa import Salsa
from maya_bridge.prompt import Prompt, PromptConfig
from maya_bridge.speech_llm import EncodedSpeech, evaluating, make_speech_llm
from maya_encoder import AcousticModel, CTCConfig, RNNTConfig
from maya_encoder.script import fold

LANGS = ["hi", "bn", "hi", "ta"]


def greedy_without_cache(model, speech, row, lang, limit):
    projected = model.project(speech)
    size = projected.speech_embeds_lens[row : row + 1]
    batch = model.prompt.build(
        model.llm.get_input_embeddings(), projected.speech_embeds[row : row + 1, : int(size)], size, [lang]
    )
    embeds, positions, ids = batch.inputs_embeds, batch.position_ids, []
    for _ in range(limit):
        mask = torch.ones_like(positions)
        logits = model.llm(inputs_embeds=embeds, attention_mask=mask, position_ids=positions).logits
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] == model.llm_tokenizer.eos_id:
            break
        embeds = torch.cat([embeds, model.llm.get_input_embeddings()(torch.tensor([ids[-1:]]))], dim=1)
        positions = torch.cat([positions, positions[:, -1:] + 1], dim=1)
    return model.llm_tokenizer.decode(ids, lang)


@pytest.mark.parametrize("positions", ["rope", "restart"])
def test_generation_in_a_batch_equals_a_loop_without_cache(positions, make_model, spell, sentences):
    model = make_model(positions=positions, seed=3).eval()
    model.llm.model.embed_tokens.weight.data.mul_(8)  # sharp choices instead of ties
    speech = spell(sentences)

    with torch.no_grad():
        together = model.generate(speech, LANGS, max_new_tokens=12)
        alone = [greedy_without_cache(model, speech, row, lang, 12) for row, lang in enumerate(LANGS)]

    assert together == alone
    assert len(set(together)) > 1


def test_restarted_positions_with_their_mask_reach_the_speech(make_model, spell, sentences):
    model = make_model(positions="restart").eval()
    speech = spell(sentences[:1])
    embed = model.llm.get_input_embeddings()
    projected = model.project(speech)
    outputs = []
    for embeds in (projected.speech_embeds, -projected.speech_embeds):
        batch = model.prompt.build(embed, embeds, projected.speech_embeds_lens, ["hi"])
        outputs.append(
            model.llm(
                inputs_embeds=batch.inputs_embeds,
                attention_mask=batch.attention_mask,
                position_ids=batch.position_ids,
            ).logits[0, -1]
        )

    assert float((outputs[0] - outputs[1]).detach().abs().max()) > 1e-3


def test_four_utterances_are_learnt_by_heart(make_model, spell, sentences):
    model = make_model()
    speech, optimizer = spell(sentences), torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(50):
        parts = model.loss(speech, sentences, ["hi"] * 4)
        optimizer.zero_grad()
        (parts.loss_sum / parts.num_tokens).backward()
        optimizer.step()

    assert model.generate(speech, ["hi"] * 4) == sentences


def test_speech_encoded_from_waveforms_has_the_posteriors_only_where_they_are_needed(make_model, spell):
    frames = spell(["कख"])
    with_ctc, without = make_model(), make_model(MLPProjector())

    encoded = with_ctc.encode_speech(frames.encoder_out, frames.encoder_out_lens, ["hi"])

    torch.testing.assert_close(encoded.ctc_log_probs, frames.ctc_log_probs)
    assert without.encode_speech(frames.encoder_out, frames.encoder_out_lens, ["hi"]).ctc_log_probs is None


def test_projector_adopts_the_llm_embedding_of_each_piece(make_model, letters):
    model = make_model()
    embed, tokenizer = model.llm.get_input_embeddings(), model.llm_tokenizer
    model.llm.model.embed_tokens.weight.data.normal_()

    model.adopt_pieces()

    for index, text in enumerate([" ", *letters], start=1):
        expected = embed(torch.tensor(tokenizer.encode_piece(fold(text))))[0]
        torch.testing.assert_close(model.projector.table[index], expected)


def test_modes_come_back_after_generation(make_model, spell):
    model = make_model().train()
    model.acoustic.eval()

    with evaluating(model):
        assert not any(module.training for module in model.modules())

    assert model.llm.training
    assert model.projector.training
    assert not model.acoustic.training


def test_a_prompt_beyond_the_sliding_window_is_refused_unless_told(make_model, spell, monkeypatch):
    monkeypatch.setattr("maya_bridge.speech_llm.target_loss", lambda llm, batch: torch.zeros(()))
    model = make_model(positions="rope")
    model.llm.config.layer_types = ["sliding_attention", "full_attention"]
    model.llm.config.sliding_window = 8

    told = "a prompt of 16 positions is longer than the LLM's sliding window of 8: shorten the audio or raise"

    with pytest.raises(ValueError, match=f"{told} .*, or set the prompt's `window` to warn"):
        model.loss(spell(["कखगच"]), ["कखगच"], ["hi"])
    with pytest.raises(ValueError, match="a prompt of 10 positions"):
        model.generate(spell(["कखगच"]), ["hi"])
    model.prompt.config.window = "warn"
    with pytest.warns(UserWarning, match=told) as warned:
        model.loss(spell(["कखगच"]), ["कखगच"], ["hi"])
    assert len(warned) == 1


def test_one_prompt_builder_serves_training_and_generation(make_model):
    model = make_model()

    assert isinstance(model.prompt, Prompt)
    assert model.prompt.config == PromptConfig(positions="restart")


def test_an_unknown_way_of_decoding_is_named(make_model):
    with pytest.raises(ValueError, match=r"`decode` must be one of greedy, beam, .*, tdt, got alibi"):
        make_model().transcribe(["a.wav"], "hi", decode="alibi")


@pytest.fixture
def transducer(acoustic):
    """The acoustic model with a transducer beside its CTC head."""
    torch.manual_seed(0)
    rnnt = RNNTConfig(prediction_size=8, joint_size=12)
    config = replace(acoustic.config, heads={"ctc": CTCConfig(), "rnnt": rnnt})
    return AcousticModel(config, acoustic.tokenizer).eval()


def salsa_model(acoustic, **fields):
    torch.manual_seed(0)
    llm = LLMConfig(source="tiny", script="common", hidden_size=32, num_heads=2)
    salsa = Salsa(bottleneck=16, num_heads=2, **fields)
    return make_speech_llm(acoustic, salsa, llm)


def heard(model):
    waveforms = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0)) * 0.3
    return model.encode_speech(waveforms, torch.tensor([16000, 9000]), ["hi", "hi"])


@pytest.mark.parametrize("source", ["rnnt", "ctc"])
@pytest.mark.parametrize("skip", ["none", "window", "predictor"])
def test_states_of_units_reach_the_loss_and_the_text(source, skip, transducer):
    model, texts = salsa_model(transducer, source=source, skip=skip), ["कखग चत", "नम"]
    speech = heard(model)

    parts = model.loss(speech, texts, ["hi", "hi"])
    total = parts.loss_sum + sum(parts.aux.values())
    total.backward()

    gates = [p for name, p in model.projector.named_parameters() if "gate" in name]
    assert gates
    assert all(gate.grad.abs().sum() > 0 for gate in gates)
    assert set(parts.aux) == ({"skip"} if skip == "predictor" else set())
    assert len(model.generate(speech, ["hi", "hi"], max_new_tokens=4)) == 2


def test_reference_units_are_followed_only_where_they_give_nothing_away(transducer, monkeypatch):
    followed = []
    true = speech_llm_units.unit_states
    monkeypatch.setattr(
        speech_llm_units,
        "unit_states",
        lambda *args, **more: (followed.append(args[4]), true(*args, **more))[1],
    )
    for skip, shown in (("none", True), ("window", False)):
        model = salsa_model(transducer, skip=skip)
        model.loss(heard(model), ["कखग", "नम"], ["hi", "hi"])
        assert (followed[-1] is not None) == shown
        model.generate(heard(model), ["hi", "hi"], max_new_tokens=2)
        assert followed[-1] is None


def test_a_text_longer_than_its_audio_does_not_stop_the_training(transducer):
    model = salsa_model(transducer, source="ctc", skip="none")

    assert model.loss(heard(model), ["क" * 60, "नम"], ["hi", "hi"]).loss_sum.isfinite()


def test_units_need_their_head(acoustic):
    with pytest.raises(ValueError, match="needs an acoustic model with a head rnnt, got none"):
        salsa_model(acoustic)


def test_ctc_may_be_learnt_beside_the_text(transducer, acoustic):
    model = make_speech_llm(
        acoustic, MLPProjector(), LLMConfig(source="tiny", script="common", hidden_size=32, num_heads=2)
    )
    speech, texts, langs = heard(model), ["कखग चत", "नम"], ["hi", "hi"]

    plain = model.loss(speech, texts, langs)
    both = model.loss(speech, texts, langs, ctc_weight=0.3)

    tokens, lens = acoustic.tokenize(texts, langs)
    mean = (
        acoustic.head("ctc").loss(speech.encoder_out, speech.encoder_out_lens, tokens, lens).sum()
        / lens.sum()
    )
    assert not plain.aux
    torch.testing.assert_close(both.aux["ctc"], 0.3 * mean)
    torch.testing.assert_close(both.loss_sum, plain.loss_sum)


def test_widths_that_do_not_meet_are_named(make_model, spell, monkeypatch):
    model = make_model(MLPProjector())
    speech = spell(["कख"])
    wide = EncodedSpeech(speech.encoder_out.repeat(1, 1, 2), speech.encoder_out_lens)

    with pytest.raises(ValueError, match="frames of projector mlp must be 18 wide, got 36"):
        model.loss(wide, ["कख"], ["hi"])
    model.projector = MLPProjector().build(in_dim=18, out_dim=48, embed_rms=1.0)
    with pytest.raises(ValueError, match="speech positions of projector mlp must be 32 wide, got 48"):
        model.generate(spell(["कख"]), ["hi"])


def test_a_projector_with_other_needs_is_refused(make_model):
    class Greedy(MLPProjector):
        def build(self, **given):
            module = super().build(**given)
            module.needs = frozenset({"video"})
            return module

    with pytest.raises(ValueError, match="projector mlp must need ctc, units or nothing, got video"):
        make_model(Greedy())


def test_language_rows_change_the_loss_but_not_the_count(make_model, spell, sentences):
    model = make_model()
    without = model.loss(spell(sentences), sentences, ["hi"] * 4)
    model.prompt.config.lid_prob = 1.0
    named = model.loss(spell(sentences), sentences, ["hi"] * 4)

    assert named.num_tokens == without.num_tokens
    assert named.loss_sum > without.loss_sum
