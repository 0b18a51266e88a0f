"""A language's vector becomes part of a bias, and Parakeet has a place for that."""

import pytest
import torch

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.heads.tdt import TDTConfig
from maya_encoder.interop.one_language import for_language
from maya_encoder.interop.parakeet_export import save_parakeet
from maya_encoder.tokenizer import Tokenizer

LANGS = ("hi", "bn", "en")


def made(tokenizer, position, **changes):
    torch.manual_seed(0)
    sizes = {"num_layers": 1, "hidden_size": 16, "num_heads": 2, "subsampling_channels": 4}
    sizes |= {"subsampling_factor": 4, "lang_embedding": position, **changes}
    heads = {
        "ctc": CTCConfig(),
        "rnnt": RNNTConfig(prediction_size=8, joint_size=8),
        "tdt": TDTConfig(prediction_size=8, joint_size=8),
    }
    config = AcousticModelConfig(
        langs=LANGS, encoder=FastConformerConfig(**sizes), heads=heads, frontend={"num_mels": 16}
    )
    model = AcousticModel(config, tokenizer).eval()
    model.encoder.lang_embedding.weight.data.normal_()
    return model


@pytest.mark.parametrize("xscaling", [False, True])
@pytest.mark.parametrize("position", ["input", "output"])
@torch.inference_mode()
def test_every_head_computes_the_same_without_a_language(tokenizer, position, xscaling):
    model = made(tokenizer, position, xscaling=xscaling)
    features, lens = torch.randn(3, 60, 16), torch.tensor([60, 41, 9])
    tokens, token_lens = torch.tensor([[3, 4], [5, 6], [2, 2]]), torch.tensor([2, 2, 1])
    for place, lang in enumerate(LANGS):
        alone = for_language(model, lang)
        ids = torch.full((3,), place)
        expected, found = model.encoder(features, lens, ids), alone.encoder(features, lens)
        for name in model.heads:
            want = model.heads[name].loss(*expected, tokens, token_lens)
            torch.testing.assert_close(alone.heads[name].loss(*found, tokens, token_lens), want)
    assert hasattr(model.encoder, "lang_embedding")
    assert not hasattr(alone.encoder, "lang_embedding")


def test_model_without_a_vector_stays_itself(plain_model):
    assert for_language(plain_model, "hi") is plain_model


def test_unknown_language_is_named(tokenizer):
    with pytest.raises(ValueError, match="one of this model's hi, bn, en, got 'ta'"):
        for_language(made(tokenizer, "input"), "ta")


@pytest.mark.parametrize("position", ["input", "output"])
def test_auto_model_gives_the_logits_of_the_language(native_models, tmp_path, position):
    transformers = pytest.importorskip("transformers")
    model = made(Tokenizer(native_models[:1]), position)
    with pytest.raises(ValueError, match=r"no place for that; name one language to write with lang="):
        save_parakeet(model, tmp_path / "out")
    save_parakeet(model, tmp_path / "out", lang="bn")
    theirs = transformers.AutoModelForCTC.from_pretrained(tmp_path / "out").eval()
    features, lens = torch.randn(2, 60, 16), torch.tensor([60, 41])
    mask = torch.arange(60)[None] < lens[:, None]
    features = features * mask[..., None]  # as the front end leaves it
    with torch.inference_mode():
        found = theirs(input_features=features, attention_mask=mask).logits.log_softmax(-1)
        encoded = model.encoder(features, lens, torch.tensor([1, 1]))
        expected = model.heads["ctc"](encoded.encoder_out)
    for row, other, length in zip(found, expected, encoded.encoder_out_lens.tolist(), strict=True):
        torch.testing.assert_close(row[:length], other[:length], atol=1e-4, rtol=1e-4)
