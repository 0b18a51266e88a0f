"""Configs of the tiny models, from which NeMo builds them; the tokenizers are trained on the spot."""

from pathlib import Path

import sentencepiece
from nemo.collections.asr.models import EncDecCTCModelBPE, EncDecHybridRNNTCTCBPEModel, EncDecRNNTBPEModel
from nemo.collections.asr.models.hybrid_rnnt_ctc_bpe_models_prompt import (
    EncDecHybridRNNTCTCBPEModelWithPrompt,
)

WORK = Path("/tmp/nemo_goldens")  # archives name the place
MODULES = "nemo.collections.asr.modules."
TEXTS = {"en": "the rain is in the hills and all is well", "hi": "बारिश पहाड़ों में है और सब ठीक है"}
DURATIONS = [0, 1, 2, 3, 4]
SIZES = {"enc_hidden": 16, "pred_hidden": 12, "joint_hidden": 14}


def train_tokenizer(name: str, text: str) -> Path:
    folder = WORK / name
    folder.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text] * 20),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=len(set(text)) + 12,
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    vocabulary = (folder / "tokenizer.vocab").read_text().splitlines()
    (folder / "vocab.txt").write_text("".join(line.split("\t")[0] + "\n" for line in vocabulary[1:]))
    return folder


def config(tokenizer: dict, encoder: dict, heads: tuple[str, ...], **more) -> dict:
    features = encoder.pop("features", 80)
    found = {
        "sample_rate": 16000,
        "model_defaults": {**SIZES, **more.pop("model_defaults", {})},
        "tokenizer": tokenizer,
        "preprocessor": {
            "_target_": MODULES + "AudioToMelSpectrogramPreprocessor",
            "normalize": "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "features": features,
            "n_fft": 512,
            "pad_to": more.pop("pad_to", 0),
        },
        "encoder": {
            "_target_": MODULES + "ConformerEncoder",
            "feat_in": features,
            "n_layers": 2,
            "d_model": 16,
            "n_heads": 2,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": 4,
            "ff_expansion_factor": 2,
            "use_bias": False,
            "xscaling": False,
            "conv_kernel_size": 5,
            **encoder,
        },
        "optim": {"name": "adamw", "lr": 0.001},
    }
    ctc = {"_target_": MODULES + "ConvASRDecoder", "feat_in": 16, "num_classes": -1, "vocabulary": []}
    if heads == ("ctc",):
        return found | {"decoder": ctc} | more
    if "ctc" in heads:
        found["aux_ctc"] = {"ctc_loss_weight": 0.3, "decoder": ctc, "decoding": {"strategy": "greedy"}}
    loss = {"loss_name": "pytorch"}
    if "tdt" in heads:
        found["model_defaults"] |= {"tdt_durations": DURATIONS, "num_tdt_durations": len(DURATIONS)}
        loss = {"loss_name": "tdt", "tdt_kwargs": {"durations": DURATIONS, "sigma": 0.02, "omega": 0.1}}
    dropout = more.pop("joint_dropout", 0.2)
    return found | {
        "decoder": {
            "_target_": MODULES + "RNNTDecoder",
            "prednet": {"pred_hidden": 12, "pred_rnn_layers": more.pop("rnn_layers", 1), "dropout": 0.2},
        },
        "joint": {
            "_target_": MODULES + "RNNTJoint",
            "fuse_loss_wer": False,
            "num_extra_outputs": len(DURATIONS) if "tdt" in heads else 0,
            "jointnet": {"joint_hidden": 14, "activation": "relu", "dropout": dropout},
        },
        "decoding": {
            "model_type": "tdt" if "tdt" in heads else "rnnt",
            "strategy": "greedy_batch",
            "greedy": {"max_symbols": 4},
        }
        | ({"durations": DURATIONS} if "tdt" in heads else {}),
        "loss": loss,
        **more,
    }


def recipes() -> dict[str, tuple[type, dict, tuple[str, ...]]]:
    folder = train_tokenizer("both", " ".join(TEXTS.values()))
    one = {"dir": str(folder), "type": "bpe"}
    each = {lang: {"dir": str(train_tokenizer(lang, text)), "type": "bpe"} for lang, text in TEXTS.items()}
    conformer = {
        "subsampling": "striding",
        "subsampling_factor": 4,
        "use_bias": True,
        "xscaling": True,
        "conv_kernel_size": 7,
    }
    local = {"self_attention_model": "rel_pos_local_attn", "att_context_size": [2, 2]}
    prompt = {"num_prompts": 6, "prompt_dictionary": {"en-US": 0, "hi-IN": 4}}
    prompt["initialize_prompt_feature"] = True
    hybrid = EncDecHybridRNNTCTCBPEModel
    made = {
        "ctc": (EncDecCTCModelBPE, config(one, {}, ("ctc",)), ("ctc",)),
        "rnnt": (
            EncDecRNNTBPEModel,
            config(
                one,
                {**conformer, "untie_biases": False, "conv_norm_type": "layer_norm"},
                ("rnnt",),
                joint_dropout=0.0,
                rnn_layers=2,
            ),
            ("rnnt",),
        ),
        "tdt": (EncDecRNNTBPEModel, config(one, {"features": 128}, ("tdt",)), ("tdt",)),
        "local": (
            hybrid,
            config(one, {**local, "use_bias": True, "xscaling": True}, ("rnnt", "ctc")),
            ("rnnt", "ctc"),
        ),
        "prompt": (
            EncDecHybridRNNTCTCBPEModelWithPrompt,
            config(one, {}, ("tdt", "ctc"), model_defaults=prompt),
            ("tdt", "ctc"),
        ),
        "aggregate": (
            EncDecRNNTBPEModel,
            config({"type": "agg", "langs": each}, {}, ("rnnt",)),
            ("rnnt",),
        ),
        "limited": (EncDecCTCModelBPE, config(one, {"att_context_size": [2, 1]}, ("ctc",)), ("ctc",)),
        "chunked": (
            EncDecCTCModelBPE,
            config(
                one, {"att_context_size": [[2, 1], [4, 1]], "att_context_style": "chunked_limited"}, ("ctc",)
            ),
            ("ctc",),
        ),
        "legacy": (hybrid, config(one, dict(conformer), ("rnnt", "ctc")), ("rnnt", "ctc")),
        "legacy_pad": (EncDecCTCModelBPE, config(one, dict(conformer), ("ctc",), pad_to=16), ("ctc",)),
    }
    return made
