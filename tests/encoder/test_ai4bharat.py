"""Archives as the AI4Bharat fork of NeMo writes them, made small from what its code says."""

import io
import json
import tarfile
from pathlib import Path

import pytest
import sentencepiece
import torch
import torch.nn.functional as F

import maya_encoder
from maya_encoder.fit import BadCheckpoint
from maya_encoder.heads.rnnt import RNNTConfig

PIECES, WIDTH, JOINT, PREDICTION = 24, 16, 12, 10
TEXTS = {"hi": "नमस्ते दुनिया यह एक वाक्य है", "bn": "আমি ভাত খাই এবং জল পান করি"}
LANGS = tuple(TEXTS)


def tokenizer_model(text: str) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text] * 10),
        model_writer=written,
        model_type="bpe",
        vocab_size=PIECES,
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        normalization_rule_name="identity",
        minloglevel=3,
    )
    return written.getvalue()


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, bytes]:
    return {lang: tokenizer_model(text) for lang, text in TEXTS.items()}


def encoder_tensors() -> dict[str, torch.Tensor]:
    from maya_encoder.fastconformer import FastConformerConfig

    made = FastConformerConfig(
        num_layers=1,
        hidden_size=WIDTH,
        num_heads=2,
        conv_kernel=7,
        subsampling="striding",
        subsampling_factor=4,
        subsampling_channels=WIDTH,
        masked_subsampling=False,
        use_bias=True,
        xscaling=True,
    ).build(num_mels=80)
    return {f"encoder.{key}": value for key, value in made.state_dict().items()}


def fork_tensors(index: int) -> dict[str, torch.Tensor]:
    rows = len(LANGS) * PIECES + 1
    heads = {
        "ctc_decoder.decoder_layers.0.weight": torch.randn(rows, WIDTH, 1),
        "ctc_decoder.decoder_layers.0.bias": torch.randn(rows),
        "decoder.prediction.embed.weight": torch.randn(rows, PREDICTION),
        "joint.enc.weight": torch.randn(JOINT, WIDTH),
        "joint.enc.bias": torch.randn(JOINT),
        "joint.pred.weight": torch.randn(JOINT, PREDICTION),
        "joint.pred.bias": torch.randn(JOINT),
    }
    lstm = torch.nn.LSTM(PREDICTION, PREDICTION).state_dict()
    heads |= {f"decoder.prediction.dec_rnn.lstm.{key}": value for key, value in lstm.items()}
    for lang in LANGS:
        heads[f"joint.joint_net.{index}.{lang}.weight"] = torch.randn(PIECES + 1, JOINT)
        heads[f"joint.joint_net.{index}.{lang}.bias"] = torch.randn(PIECES + 1)
    return heads


def fork_config() -> dict:
    langs = {
        lang: {"dir": f"/data/{lang}", "type": "bpe", "model_path": f"nemo:0f_{lang}_tokenizer.model"}
        for lang in LANGS
    }
    return {
        "target": "nemo.collections.asr.models.hybrid_rnnt_ctc_bpe_models.EncDecHybridRNNTCTCBPEModel",
        "nemo_version": "1.23.0rc0",
        "tokenizer": {"dir": None, "type": "multilingual", "langs": langs},
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "window_size": 0.025,
            "features": 80,
            "n_fft": 512,
        },
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": 80,
            "n_layers": 1,
            "d_model": WIDTH,
            "n_heads": 2,
            "conv_kernel_size": 7,
        },
        "decoder": {"multisoftmax": True, "prednet": {"pred_hidden": PREDICTION, "pred_rnn_layers": 1}},
        "joint": {
            "multilingual": True,
            "language_keys": list(LANGS),
            "num_classes": len(LANGS) * PIECES,
            "jointnet": {"joint_hidden": JOINT, "activation": "relu", "dropout": 0.2},
        },
        "aux_ctc": {"decoder": {"multisoftmax": True, "num_classes": len(LANGS) * PIECES}},
    }


@pytest.fixture
def fork_archive(tmp_path, tokenizers):
    """An archive of the fork; changes to its config, output layers at `index` of the joint network."""

    def write(changes=None, models=tokenizers, index=2, edit=lambda tensors: tensors):
        torch.manual_seed(0)
        config = fork_config()
        for key, value in (changes or {}).items():
            section, _, name = key.rpartition(".")
            part = config
            for step in filter(None, section.split(".")):
                part = part[step]
            part[name] = value
        weights = io.BytesIO()
        torch.save(edit({**encoder_tensors(), **fork_tensors(index)}), weights)
        members = {f"./0f_{lang}_tokenizer.model": model for lang, model in models.items()}
        members |= {"./model_config.yaml": json.dumps(config).encode()}
        members |= {"./model_weights.ckpt": weights.getvalue()}
        with tarfile.open(tmp_path / "fork.nemo", "w") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return tmp_path / "fork.nemo"

    return write


@pytest.fixture
def model(fork_archive):
    return maya_encoder.load(fork_archive())


@pytest.fixture
def states():
    return torch.randn(3, 9, WIDTH, generator=torch.Generator().manual_seed(1)), torch.tensor([9, 7, 4])


def test_model_has_its_languages_both_heads_and_the_legacy_front_end(model):
    assert model.langs == LANGS
    assert set(model.heads) == {"ctc", "rnnt"}
    assert model.frontend.frontend == "legacy"
    assert model.tokenizer.vocab_size == len(LANGS) * PIECES


def test_ids_are_global_though_the_fork_counts_within_a_language(model, tokenizers):
    local = sentencepiece.SentencePieceProcessor(model_proto=tokenizers["bn"]).encode("আমি ভাত")
    found = model.tokenizer.encode("আমি ভাত", "bn")
    assert found == [PIECES + i for i in local]
    assert model.tokenizer.decode(found, "bn") == "আমি ভাত"


@torch.no_grad()
def test_ctc_takes_the_softmax_over_one_language_and_the_blank(model, states):
    layer = model.heads["ctc"].decoder_layers[0]
    logits = F.linear(states[0], layer.weight.squeeze(-1), layer.bias)  # (B, T, 2 * 24 + 1)
    found = model.heads["ctc"](states[0], lang_ids=torch.tensor([1, 0, 1]))
    for row, lang in enumerate((1, 0, 1)):
        own = [*range(lang * PIECES, (lang + 1) * PIECES), len(LANGS) * PIECES]
        assert torch.allclose(found[row][:, own], logits[row][:, own].log_softmax(-1), atol=1e-5)
    assert torch.allclose(model.heads["ctc"](states[0]), logits.log_softmax(-1), atol=1e-5)


def single_language_head(model, lang: str):
    """The same transducer for one language, as an ordinary head with ids within the language."""
    theirs = model.heads["rnnt"].state_dict()
    config = RNNTConfig(prediction_size=PREDICTION, joint_size=JOINT)
    head = config.build(in_dim=WIDTH, vocab_size=PIECES + 1)
    own = {key: value for key, value in theirs.items() if "joint_net" not in key}
    embed = own["prediction.embed.weight"][: PIECES + 1].clone()
    own["prediction.embed.weight"] = embed.index_fill(0, torch.tensor(PIECES), 0)
    for part in ("weight", "bias"):
        own[f"joint.joint_net.2.{part}"] = theirs[f"joint.joint_net.2.{lang}.{part}"]
    head.load_state_dict(own)
    return head.eval()


@torch.no_grad()
def test_transducer_uses_the_output_of_the_language_and_ids_within_it(model, states):
    local = torch.tensor([[3, 5, 3], [7, 1, 0], [2, 0, 0]])
    lens = torch.tensor([3, 2, 1])
    langs = torch.tensor([1, 0, 1])
    loss = model.heads["rnnt"].loss(*states, local + langs[:, None] * PIECES, lens, lang_ids=langs)
    heard = model.heads["rnnt"].decode(*states, lang_ids=langs)
    for row, lang in enumerate(langs.tolist()):
        head = single_language_head(model, LANGS[lang])
        one = states[0][row : row + 1], states[1][row : row + 1]
        want = head.loss(*one, local[row : row + 1], lens[row : row + 1])
        assert torch.allclose(loss[row], want[0], rtol=1e-5)
        assert heard[row] == [lang * PIECES + i for i in head.decode(*one)[0]]


def test_output_layer_without_dropout_before_it_is_found(fork_archive, states):
    with_dropout = maya_encoder.load(fork_archive())
    without = maya_encoder.load(fork_archive({"joint.jointnet.dropout": 0.0}, index=1))
    langs = torch.tensor([0, 1, 0])
    assert with_dropout.heads["rnnt"].decode(*states, lang_ids=langs) == without.heads["rnnt"].decode(
        *states, lang_ids=langs
    )


def test_transcribes_in_the_language_asked_for(model):
    audio = (torch.rand(8000, generator=torch.Generator().manual_seed(2)) - 0.5).numpy()
    for head in ("ctc", "rnnt"):
        found = model.transcribe([audio, audio], langs=["hi", "bn"], head=head)
        for hypothesis, lang in zip(found, LANGS, strict=True):
            own = set(model.tokenizer.lang_vocab()[lang])
            assert hypothesis.tokens
            assert set(hypothesis.tokens) <= own
    with pytest.raises(ValueError, match="does not know language 'ta'; it knows: hi, bn"):
        model.transcribe(audio, lang="ta")


def test_saved_model_keeps_languages_and_masks(model, tmp_path, states):
    model.save(tmp_path / "model")
    again = maya_encoder.load(tmp_path / "model")
    langs = torch.tensor([1, 0, 1])
    assert again.langs == LANGS
    for name in ("ctc", "rnnt"):
        assert again.heads[name].decode(*states, lang_ids=langs) == model.heads[name].decode(
            *states, lang_ids=langs
        )


REFUSED = [
    ({"decoder.multisoftmax": False}, "decoder.multisoftmax must be true with a multilingual tokenizer here"),
    ({"joint.multilingual": False}, "joint.multilingual must be true with a multilingual tokenizer here"),
    (
        {"joint.language_keys": ["hi"]},
        r"joint.language_keys must be the tokenizer's hi, bn here, got \['hi'\]",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_variants_laid_out_otherwise_are_refused(fork_archive, changes, message):
    with pytest.raises(BadCheckpoint, match=message):
        maya_encoder.load(fork_archive(changes))


def test_models_of_different_sizes_are_refused(fork_archive, tokenizers):
    golden = Path(__file__).parent / "goldens" / "nemo" / "ctc.nemo"
    with tarfile.open(golden) as tar:
        name = next(name for name in tar.getnames() if name.endswith("tokenizer.model"))
        other = tar.extractfile(name).read()
    with pytest.raises(
        BadCheckpoint, match=r"tokenizer.langs must be models of one size here, got \[24, 43\]"
    ):
        maya_encoder.load(fork_archive(models={**tokenizers, "bn": other}))


def test_variant_with_language_tokens_is_refused(fork_archive):
    rows = len(LANGS) * (PIECES + 1) + 1
    more = {"ctc_decoder.decoder_layers.0.weight": torch.randn(rows, WIDTH, 1)}
    with pytest.raises(BadCheckpoint, match="must be 49 rows; this variant writes language tokens here"):
        maya_encoder.load(fork_archive(edit=lambda tensors: tensors | more))


@torch.no_grad()
def test_pure_ctc_model_masks_too(fork_archive, states):
    def pure(tensors):
        return {
            key.replace("ctc_decoder.", "decoder."): value
            for key, value in tensors.items()
            if not key.startswith(("decoder.", "joint."))
        }

    model = maya_encoder.load(fork_archive({"joint": {}, "decoder": {"multisoftmax": True}}, edit=pure))
    assert set(model.heads) == {"ctc"}
    found = model.heads["ctc"].decode(*states, lang_ids=torch.tensor([1, 0, 1]))
    for row, lang in zip(found, ("bn", "hi", "bn"), strict=True):
        assert set(row) <= set(model.tokenizer.lang_vocab()[lang])


def test_language_without_an_output_layer_is_named(fork_archive):
    path = fork_archive({"joint.language_keys": ["bn", "hi"]})
    assert maya_encoder.load(path)
    small = {"joint.joint_net.2.hi.weight": torch.randn(3, JOINT)}
    archive = fork_archive(edit=lambda tensors: tensors | small)
    with pytest.raises(BadCheckpoint, match=r"joint_net\.2\.hi\.weight is \[3, 12\] where the model has"):
        maya_encoder.load(archive)
