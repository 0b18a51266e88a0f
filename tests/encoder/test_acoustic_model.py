import numpy as np
import pytest
import torch

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fastconformer import FastConformerConfig


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def test_state_dict_has_only_encoder_and_heads(model):
    assert {key.split(".")[0] for key in model.state_dict()} == {"encoder", "heads"}
    assert {key.split(".")[1] for key in model.state_dict() if key.startswith("heads")} == {"ctc", "rnnt"}


def test_tokenize_pads_and_counts(model):
    tokens, lens = model.tokenize(["hello", "আমি"], ["en", "bn"])
    assert tokens.shape == (2, int(lens.max()))
    assert model.tokenizer.decode(tokens[1, : lens[1]].tolist(), "bn") == "আমি"
    assert model.tokenize([""], ["en"])[0].shape == (1, 0)


@pytest.mark.parametrize("head", ["ctc", "rnnt"])
def test_each_head_learns_from_text(model, head):
    encoded = model.encode(torch.randn(2, 8000), torch.tensor([8000, 6000]), ["hi", "bn"])
    targets = model.tokenize(["नम", "আমি"], ["hi", "bn"])
    model.head(head).loss(*encoded, *targets).sum().backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if not name.startswith("heads"))


def test_transcribing_keeps_the_order_and_does_not_depend_on_the_batch(model):
    audio = [noise(9000, 0), noise(4000, 1), noise(16000, 2)]
    langs = ["hi", "bn", "en"]
    alone = [model.transcribe([a], lang)[0] for a, lang in zip(audio, langs, strict=True)]
    assert model.transcribe(audio, langs, batch_size=2) == alone
    assert [h.duration for h in alone] == [9000 / 16000, 4000 / 16000, 1.0]
    assert [h.lang for h in alone] == langs
    assert {h.head for h in alone} == {"rnnt"}


def test_transcribing_leaves_the_mode_of_every_module(model):
    model.train()
    model.encoder.eval()
    model.transcribe([noise(4000)], "hi", head="ctc")
    assert model.heads.training
    assert not model.encoder.training


def test_model_trains_after_transcribing(model):
    model.transcribe([noise(8000)], "hi")
    encoded = model.encode(torch.randn(1, 8000), torch.tensor([8000]), ["hi"])
    model.head("ctc").loss(*encoded, *model.tokenize(["नम"], ["hi"])).sum().backward()
    assert all(parameter.grad is not None for parameter in model.head("ctc").parameters())


def test_one_recording_needs_no_list(model):
    assert model.transcribe(noise(4000), "hi") == model.transcribe([noise(4000)], "hi")


def test_nothing_to_transcribe_gives_nothing(model):
    assert model.transcribe([], "hi") == []


def test_unknown_language_is_named_with_those_known(model):
    with pytest.raises(ValueError, match="does not know language 'ta'; it knows: hi, bn, en"):
        model.transcribe([noise(4000)], "ta")


def test_unknown_head_is_named_with_those_there(model):
    with pytest.raises(ValueError, match="no head named 'tdt'; it has: ctc, rnnt"):
        model.transcribe([noise(4000)], "hi", head="tdt")


def test_number_of_languages_must_match(model):
    with pytest.raises(ValueError, match="`langs` must be one language or one for each of 1, got 2"):
        model.transcribe([noise(4000)], ["hi", "bn"])


def test_text_profile_must_be_the_tokenizers(tokenizer):
    config = AcousticModelConfig(encoder=FastConformerConfig(), text="asr-v2")
    with pytest.raises(ValueError, match="`text` must be the tokenizer's 'asr-v1', got 'asr-v2'"):
        AcousticModel(config, tokenizer)


def test_augmentation_is_for_training_only(tokenizer):
    encoder = FastConformerConfig(
        num_layers=1, hidden_size=16, num_heads=2, subsampling_channels=4, dropout=0.0
    )
    config = AcousticModelConfig(encoder=encoder, frontend={"dither": 0.0}, specaugment={"time_width": 0.5})
    model = AcousticModel(config, tokenizer)
    batch = torch.randn(2, 16000), torch.tensor([16000, 16000]), ["hi", "hi"]
    assert not torch.equal(model.encode(*batch)[0], model.encode(*batch)[0])
    model.eval()
    assert torch.equal(model.encode(*batch)[0], model.encode(*batch)[0])
