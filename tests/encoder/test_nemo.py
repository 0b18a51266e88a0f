"""What the reader of NeMo archives makes of configs and tensors; test_nemo_goldens.py compares numbers."""

import io
import json
import tarfile
from functools import cache
from pathlib import Path

import pytest
import torch

import maya_encoder
from maya_encoder.fit import BadCheckpoint
from maya_encoder.interop import build, read_any
from maya_encoder.interop.nemo_archive import NemoArchive

GOLDENS = Path(__file__).parent / "goldens" / "nemo"


@cache
def golden(name) -> NemoArchive:
    return NemoArchive(GOLDENS / f"{name}.nemo")


def set_key(config, key, value):
    *parts, last = key.split(".")
    for part in parts:
        config = config.setdefault(part, {})
    config[last] = value


@pytest.fixture
def edited(tmp_path):
    """A golden archive with keys of its config changed (None removes) and its tensors edited."""

    def edit(name, changes=None, tensors=lambda tensors: tensors):
        config = golden(name).config()
        for key, value in (changes or {}).items():
            set_key(config, key, value)
        weights = io.BytesIO()
        torch.save(tensors(golden(name).weights()), weights)
        members = {member: golden(name).read(member) for member in golden(name).names}
        members |= {"model_config.yaml": json.dumps(config).encode()}  # JSON is YAML, and quick to write
        members |= {"model_weights.ckpt": weights.getvalue()}
        return pack(tmp_path / f"{name}.nemo", members)

    return edit


def pack(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def without(*prefixes):
    return lambda tensors: {key: value for key, value in tensors.items() if not key.startswith(prefixes)}


@pytest.mark.parametrize(
    ("name", "heads", "langs"),
    [
        ("ctc", ["ctc"], ()),
        ("rnnt", ["rnnt"], ()),
        ("tdt", ["tdt"], ()),
        ("local", ["ctc", "rnnt"], ()),
        ("prompt", ["ctc", "tdt"], ("en-US", "hi-IN")),
        ("aggregate", ["rnnt"], ("en", "hi")),
    ],
)
def test_every_kind_of_model_opens_with_its_heads_and_languages(name, heads, langs):
    model = maya_encoder.load(GOLDENS / f"{name}.nemo")
    assert (sorted(model.heads), model.langs, model.training) == (heads, langs, False)


def test_settings_of_the_transducer_are_read():
    config = read_any(GOLDENS / "tdt.nemo").config.heads["tdt"]
    assert (config.durations, config.sigma, config.omega) == ((0, 1, 2, 3, 4), 0.02, 0.1)
    assert (config.prediction_size, config.joint_size, config.dropout, config.max_symbols) == (12, 14, 0.2, 4)
    assert read_any(GOLDENS / "rnnt.nemo").config.heads["rnnt"].num_layers == 2


def test_fastemit_is_read(edited):
    changes = {"loss.loss_name": "default", "loss.warprnnt_numba_kwargs.fastemit_lambda": 0.005}
    assert read_any(edited("rnnt", changes)).config.heads["rnnt"].fastemit_lambda == 0.005


@pytest.mark.parametrize("key", ["model_defaults.tdt_durations", "decoding.durations"])
def test_durations_are_found_where_older_configs_have_them(edited, key):
    changes = {"loss": None, "model_defaults.tdt_durations": None, "decoding.durations": None}
    path = edited("tdt", {**changes, key: [0, 1, 2, 3, 4]})
    assert maya_encoder.load(path).heads["tdt"].durations == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    ("value", "found"), [("all_features", "all_features"), ("NA", "none"), (None, "none")]
)
def test_kind_of_normalisation_is_read(edited, value, found):
    assert read_any(edited("ctc", {"preprocessor.normalize": value})).config.frontend["normalize"] == found


def test_defaults_of_nemo_stand_for_absent_keys(edited):
    def classic(tensors):
        return without("encoder.", "decoder.")(tensors)

    kept = {"d_model": 16, "n_layers": 2, "feat_in": 80}
    preprocessor = {"window_size": 0.025, "features": 80}
    imported = read_any(edited("ctc", {"encoder": kept, "preprocessor": preprocessor}, classic))
    encoder = imported.config.encoder
    assert (encoder.subsampling, encoder.subsampling_factor, encoder.subsampling_channels) == (
        "striding",
        4,
        16,
    )
    assert (encoder.conv_kernel, encoder.num_heads, encoder.use_bias, encoder.xscaling) == (31, 4, True, True)
    assert (encoder.attention, encoder.attention_context, encoder.untie_biases) == ("rel_pos", (-1, -1), True)
    assert imported.config.frontend["pad_to"] == 16


UNSUPPORTED = [
    ("ctc", "encoder.causal_downsampling", True, "encoder.causal_downsampling must be False here, got True"),
    (
        "ctc",
        "encoder.subsampling",
        "vggnet",
        "encoder.subsampling must be dw_striding or striding here, got 'vgg",
    ),
    (
        "ctc",
        "encoder.self_attention_model",
        "abs_pos",
        "must be rel_pos or rel_pos_local_attn here, got 'abs",
    ),
    (
        "ctc",
        "encoder.conv_norm_type",
        "group_norm8",
        "encoder.conv_norm_type must be batch_norm or layer_norm",
    ),
    ("ctc", "encoder.conv_context_size", "causal", r"must be null or \[2, 2\] here, got 'causal'"),
    ("ctc", "encoder.reduction", "pooling", "encoder.reduction must be None here, got 'pooling'"),
    ("ctc", "encoder.feat_out", 8, "encoder.feat_out must be -1 or d_model=16 here, got 8"),
    ("ctc", "encoder.att_context_size", [1, 2, 3], "encoder.att_context_size must be two whole numbers"),
    ("ctc", "encoder.d_model", None, "encoder.d_model must be a whole number here, got None"),
    ("ctc", "encoder.n_heads", 3, r"the encoder cannot be built here: `hidden_size` must be"),
    ("ctc", "encoder._target_", "nemo.X.ConvASREncoder", "encoder._target_ must be a ConformerEncoder"),
    ("local", "encoder.att_context_size", [-1, -1], "`attention_context` of local attention must be"),
    ("local", "encoder.att_context_size", [4, 2], "must be two equal numbers for local attention here"),
    ("local", "encoder.global_tokens", 1, "encoder.global_tokens must be 0 here, got 1"),
    ("ctc", "preprocessor.normalize", {"fixed_mean": [0.0]}, "preprocessor.normalize must be per_feature or"),
    ("ctc", "preprocessor.preemph", None, "preprocessor.preemph must be 0.97 here, got None"),
    ("ctc", "preprocessor.pad_to", "max", "preprocessor.pad_to must be a whole number here, got 'max'"),
    ("ctc", "encoder.xscaling", None, "encoder.xscaling must be true or false here, got None"),
    ("ctc", "preprocessor.n_fft", 1024, "preprocessor.n_fft must be 512 here, got 1024"),
    ("ctc", "preprocessor.window", "hamming", "preprocessor.window must be hann here, got 'hamming'"),
    ("ctc", "preprocessor.window_stride", 0.02, "preprocessor.window_stride must be 0.01 here, got 0.02"),
    ("ctc", "preprocessor.highfreq", 7600, "preprocessor.highfreq must be 8000.0 here, got 7600"),
    ("ctc", "preprocessor._target_", "X.AudioToMFCC", "must be an AudioToMelSpectrogramPreprocessor"),
    ("rnnt", "decoder._target_", "X.StatelessTransducerDecoder", r"decoder._target_ must be an RNNTDecoder"),
    (
        "rnnt",
        "decoder.normalization_mode",
        "layer",
        "decoder.normalization_mode must be null here, got 'layer'",
    ),
    ("rnnt", "decoder.blank_as_pad", False, "decoder.blank_as_pad must be true here, got False"),
    (
        "rnnt",
        "joint.jointnet.activation",
        "gelu",
        "joint.jointnet.activation must be relu or tanh or sigmoid",
    ),
    ("rnnt", "loss.loss_name", "multiblank_rnnt", "loss.loss_name must be an RNNT or TDT loss here"),
    ("tdt", "joint.num_extra_outputs", 4, "joint.num_extra_outputs must be 5, the number of durations,"),
    ("tdt", "loss.tdt_kwargs.durations", [0, -1], "loss.tdt_kwargs.durations must be whole numbers from 0"),
    ("ctc", "tokenizer.type", "wpe", r"tokenizer.type must be bpe \(a SentencePiece model; word pieces"),
    ("ctc", "tokenizer.type", None, "tokenizer.type must be bpe, agg or multilingual here, got 'none'"),
    ("ctc", "tokenizer.model_path", "nemo:gone", "tokenizer.model_path is 'nemo:gone', which is no member"),
    ("aggregate", "tokenizer.langs", {}, "tokenizer.langs must be a tokenizer for each language here"),
]


@pytest.mark.parametrize(("name", "key", "value", "message"), UNSUPPORTED, ids=lambda part: str(part)[:32])
def test_what_cannot_be_built_is_refused_by_key_and_value(edited, name, key, value, message):
    path = edited(name, {key: value})
    with pytest.raises(BadCheckpoint, match=message) as caught:
        maya_encoder.load(path)
    assert str(path) in str(caught.value)


def test_first_missing_unexpected_and_misshapen_tensors_are_named_and_counted(edited):
    def damage(tensors):
        tensors = without("encoder.layers.1.")(tensors)
        tensors["encoder.layers.0.norm_out.weight"] = torch.zeros(3)
        return {**tensors, "adapter.weight": torch.zeros(2)}

    with pytest.raises(BadCheckpoint) as caught:
        maya_encoder.load(edited("ctc", tensors=damage))
    message = str(caught.value)
    assert "encoder.layers.1.norm_feed_forward1.weight" in message
    assert "more" in message
    assert "adapter.weight" in message
    assert "encoder.layers.0.norm_out.weight is [3] where the model has [16]" in message


def test_tokenizer_that_does_not_fit_the_head_is_refused(edited):
    def shorter(tensors):
        key = "decoder.decoder_layers.0.weight"
        return {**tensors, key: tensors[key][:-2]}

    path = edited("ctc", tensors=shorter)
    with pytest.raises(BadCheckpoint, match=r"the tokenizer does not fit the head: it has (\d+) pieces"):
        maya_encoder.load(path)


def test_exchanged_tokenizer_is_refused_for_a_transducer(edited):
    other = golden("aggregate").config()["tokenizer"]["langs"]["en"]["model_path"].removeprefix("nemo:")
    path = edited("rnnt")
    mine = NemoArchive(path).config()["tokenizer"]["model_path"].removeprefix("nemo:")
    pack(path, {mine: golden("aggregate").read(other)}, "a")
    with pytest.raises(BadCheckpoint, match="the tokenizer does not fit the head"):
        maya_encoder.load(path)


def test_position_biases_are_shared_where_nemo_shares_them(edited):
    assert read_any(GOLDENS / "rnnt.nemo").config.encoder.untie_biases is False
    local = read_any(edited("local", {"encoder.untie_biases": False}))
    assert local.config.encoder.untie_biases is True


def as_canary(tensors):
    mine = without("decoder.", "joint.")(tensors)
    return {
        **mine,
        "transf_decoder._decoder.layers.0.weight": torch.zeros(2),
        "log_softmax.w": torch.zeros(2),
    }


def test_canary_gives_its_encoder(edited):
    target = "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel"
    path = edited("ctc", {"target": target, "decoder": None, "tokenizer.type": "agg"}, as_canary)
    imported = read_any(path)
    assert imported.tokenizer is None
    assert imported.tensors.keys() == {
        key for key in read_any(GOLDENS / "ctc.nemo").tensors if key.startswith("encoder.")
    }
    assert imported.config.encoder.hidden_size == 16
    assert "tensors outside the encoder were left out" in imported.notes[-1]
    with pytest.raises(BadCheckpoint, match=r"EncDecMultiTaskModel has no CTC, RNNT or TDT head;.*include="):
        build(imported, path)


def test_buffers_of_the_front_end_may_be_missing(edited):
    assert maya_encoder.load(edited("ctc", tensors=without("preprocessor."))).heads


def test_weights_in_half_precision_become_single(edited):
    def half(tensors):
        return {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}

    model = maya_encoder.load(edited("ctc", tensors=half))
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_prompt_indices_are_those_of_the_dictionary():
    model = maya_encoder.load(GOLDENS / "prompt.nemo")
    assert model.config.prompt == {"num_prompts": 6, "lang_prompts": {"en-US": 0, "hi-IN": 4}}


def test_aggregate_text_needs_no_language_to_be_read():
    tokenizer = maya_encoder.load(GOLDENS / "aggregate.nemo").tokenizer
    english, hindi = tokenizer.encode("the rain", "en"), tokenizer.encode("सब ठीक", "hi")
    assert max(english) < min(hindi)
    assert tokenizer.decode([*english, *hindi, *english]) == "the rain सब ठीक the rain"
    assert tokenizer.encode("the rain", "en") == english


def test_unknown_pieces_are_shown_as_nemo_shows_them():
    tokenizer = maya_encoder.load(GOLDENS / "ctc.nemo").tokenizer
    assert tokenizer.decode([0]) == " \u2047 "


@pytest.mark.parametrize("content", [b"RIFF", b""])
def test_other_files_are_refused_with_what_can_be_opened(tmp_path, content):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(
        BadCheckpoint, match=r"a\.bin is no checkpoint that this package knows; .*a \.nemo archive"
    ):
        read_any(tmp_path / "a.bin")
    with pytest.raises(BadCheckpoint, match="gone does not exist"):
        read_any(tmp_path / "gone")


def test_an_archive_that_names_no_version_leaves_a_doubt_until_the_front_end_is_given(edited):
    path = edited("ctc", {"nemo_version": None})
    with pytest.warns(
        UserWarning, match="no version of NeMo is named, so the front end is taken to be legacy"
    ):
        model = maya_encoder.load(path)
    assert model.frontend.frontend == "legacy"
    assert maya_encoder.load(path, frontend="modern").import_notes == ["modern front end, as asked for"]
