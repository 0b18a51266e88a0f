import pytest
import torch

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fastconformer import EncoderOutput, FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.tokenizer import Tokenizer

SMALL = {"num_layers": 1, "hidden_size": 16, "num_heads": 2, "subsampling_channels": 4, "dropout": 0.0}
BATCH = torch.randn(2, 16000), torch.tensor([16000, 12000])


@pytest.fixture
def make(tokenizer, native_models):
    def build(several=False, **changes):
        torch.manual_seed(0)
        config = {"encoder": FastConformerConfig(**SMALL), "langs": ("hi", "bn"), **changes}
        return AcousticModel(
            AcousticModelConfig(**config), Tokenizer(native_models) if several else tokenizer
        ).eval()

    return build


def test_state_dict_has_only_encoder_heads_and_prompt(model, make):
    assert {key.split(".")[0] for key in model.state_dict()} == {"encoder", "heads"}
    assert {key.split(".")[1] for key in model.state_dict() if key.startswith("heads")} == {"ctc", "rnnt"}
    prompted = make(prompt={"num_prompts": 4}).state_dict()
    assert {key for key in prompted if not key.startswith(("encoder", "heads"))} == {
        f"prompt.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }


def test_tokenize_pads_and_counts(model):
    tokens, lens = model.tokenize(["hello", "আমি"], ["en", "bn"])
    assert tokens.shape == (2, int(lens.max()))
    assert model.tokenizer.decode(tokens[1, : lens[1]].tolist(), "bn") == "আমি"
    assert model.tokenize([""], ["en"])[0].shape == (1, 0)


def test_languages_are_needed_to_tokenize_only_where_each_has_a_model(plain_model, make):
    assert plain_model.tokenize(["नम"])[1].tolist() == [3]
    with pytest.raises(ValueError, match="`lang` must be given: there is a model for each of hi, bn"):
        make(several=True).tokenize(["नम"])


@pytest.mark.parametrize("head", ["ctc", "rnnt"])
def test_each_head_learns_from_text(model, head):
    encoded = model.encode(torch.randn(2, 8000), torch.tensor([8000, 6000]), ["hi", "bn"])
    targets = model.tokenize(["नम", "আমি"], ["hi", "bn"])
    model.head(head).loss(*encoded, *targets).sum().backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if not name.startswith("heads"))


def test_hybrid_loss_is_the_weighted_sum_of_both_heads(model):
    encoded = model.eval().encode(torch.randn(2, 16000), torch.tensor([16000, 12000]), ["hi", "bn"])
    targets = model.tokenize(["नम", "আমি"], ["hi", "bn"])
    ctc, rnnt = (model.heads[name].loss(*encoded, *targets) for name in ("ctc", "rnnt"))
    each = model.loss(*encoded, *targets, ctc_weight=0.25, reduction="none")
    assert torch.allclose(each, 0.25 * ctc + 0.75 * rnnt)
    assert torch.allclose(model.loss(*encoded, *targets), (0.3 * ctc + 0.7 * rnnt).mean())
    assert torch.equal(model.loss(*encoded, *targets, ctc_weight=0, reduction="none"), rnnt)
    assert torch.equal(model.loss(*encoded, *targets, ctc_weight=1, reduction="none"), ctc)
    del model.heads["rnnt"]
    assert torch.equal(model.loss(*encoded, *targets, reduction="none"), ctc)
    with pytest.raises(ValueError, match="`ctc_weight` must be from 0 to 1, got 2"):
        model.loss(*encoded, *targets, ctc_weight=2)


def test_hybrid_loss_knows_the_languages(make):
    model = make(several=True, multisoftmax=True)
    encoded, targets = model.encode(*BATCH), model.tokenize(["नम", "আমি"], ["hi", "bn"])
    masked, plain = (model.loss(*encoded, *targets, langs) for langs in (["hi", "bn"], None))
    assert masked < plain


def test_encoding_gives_frames_and_lengths_by_name_and_as_a_pair(make):
    found = make().encode(*BATCH)
    assert isinstance(found, EncoderOutput)
    encoder_out, encoder_out_lens = found
    assert encoder_out is found.encoder_out
    assert encoder_out_lens.tolist() == [13, 10]


def test_encoding_by_parts_is_the_same(make):
    model = make(prompt={"num_prompts": 2})
    whole = model.encode(*BATCH, ["hi", "bn"])
    by_parts = model.encode_features(*model.frontend(*BATCH), ["hi", "bn"])
    assert torch.equal(whole.encoder_out, by_parts.encoder_out)


def test_prompt_comes_after_the_encoder_and_goes_by_language(make):
    model = make(prompt={"num_prompts": 5, "lang_prompts": {"bn": 4, "hi": 1}})
    states = model.encoder(*model.frontend(*BATCH)).encoder_out
    found = model.encode(*BATCH, ["bn", "hi"]).encoder_out
    assert torch.allclose(found, model.prompt(states, torch.tensor([4, 1])))
    assert not torch.allclose(found, model.encode(*BATCH, ["hi", "hi"]).encoder_out)


def test_prompt_is_left_out_without_languages(make):
    model = make(prompt={"num_prompts": 2})
    assert torch.equal(model.encode(*BATCH).encoder_out, model.encoder(*model.frontend(*BATCH)).encoder_out)


def test_language_embedding_is_left_out_without_languages(make):
    model = make(encoder=FastConformerConfig(**SMALL, lang_embedding="output"))
    with torch.no_grad():
        model.encoder.lang_embedding.weight.fill_(1.0)
    plain, hindi = (model.encode(*BATCH, langs).encoder_out for langs in (None, ["hi", "hi"]))
    assert torch.allclose(plain[0] + 1, hindi[0], atol=1e-5)


@pytest.mark.parametrize(("places", "got"), [({"hi": 0}, "none"), ({"hi": 0, "bn": 2}, "2")])
def test_prompt_needs_a_place_for_every_language(make, places, got):
    wanted = f"`prompt` must have a place below 2 for each language, got {got} for 'bn'"
    with pytest.raises(ValueError, match=wanted):
        make(prompt={"num_prompts": 2, "lang_prompts": places})


def test_prompt_comes_back_from_a_folder(make, tmp_path):
    from maya_encoder import load

    model = make(prompt={"num_prompts": 5, "lang_prompts": {"bn": 4, "hi": 1}})
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert torch.equal(
        again.encode(*BATCH, ["bn", "hi"]).encoder_out, model.encode(*BATCH, ["bn", "hi"]).encoder_out
    )


def test_multisoftmax_lets_a_language_write_its_own_pieces_only(make):
    model = make(
        several=True, multisoftmax=True, heads={"ctc": CTCConfig(), "rnnt": RNNTConfig(joint_size=8)}
    )
    encoded = model.encode(*BATCH)
    log_probs = model.heads["ctc"](encoded.encoder_out, model.lang_ids(["hi", "bn"])).exp()
    own = model.tokenizer.lang_vocab()
    for row, lang in enumerate(("hi", "bn")):
        mass = log_probs[row][:, [*own[lang], model.tokenizer.blank_id]].sum(-1)
        assert torch.allclose(mass, torch.ones_like(mass))
    assert torch.allclose(model.heads["ctc"](encoded.encoder_out).exp().sum(-1), torch.ones(2, 13))


def test_multisoftmax_needs_a_tokenizer_model_for_each_language(make):
    with pytest.raises(
        ValueError, match="`multisoftmax` needs a tokenizer with one model a language, got one for all"
    ):
        make(multisoftmax=True)


def test_languages_may_be_unknown_but_not_twice(make):
    assert make(langs=()).encode(*BATCH, ["hi", "xx"]).encoder_out.shape == (2, 13, 16)
    with pytest.raises(ValueError, match=r"`langs` must be different languages, got \['hi', 'hi'\]"):
        make(langs=("hi", "hi"))


def test_decoding_by_name_gives_native_script(model):
    encoded = model.eval().encode(torch.randn(2, 8000), torch.tensor([8000, 6000]), ["hi", "bn"])
    texts = model.decode(*encoded, ["hi", "bn"], "ctc")
    tokens = model.heads["ctc"].decode(*encoded, model.lang_ids(["hi", "bn"]))
    assert texts == [
        model.tokenizer.decode(row, lang) for row, lang in zip(tokens, ("hi", "bn"), strict=True)
    ]


def test_text_profile_must_be_the_tokenizers(tokenizer):
    config = AcousticModelConfig(encoder=FastConformerConfig(), text="asr-v2")
    with pytest.raises(ValueError, match="`text` must be the tokenizer's 'asr-v1', got 'asr-v2'"):
        AcousticModel(config, tokenizer)


def test_augmentation_is_for_training_only(make):
    model = make(frontend={"dither": 0.0}, specaugment={"time_width": 0.5}).train()
    assert not torch.equal(model.encode(*BATCH)[0], model.encode(*BATCH)[0])
    model.eval()
    assert torch.equal(model.encode(*BATCH)[0], model.encode(*BATCH)[0])
