"""A tokenizer and a model small enough to build in every test."""

import io
from pathlib import Path

import pytest
import sentencepiece
import torch

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.script import fold
from maya_encoder.tokenizer import Tokenizer

SENTENCES = ["नमस्ते दुनिया", "আমি ভাত খাই", "hello world", "o'clock"]


def train_model(folder: Path, name: str, sentences: list[str], rules: str = "") -> Path:
    written = io.BytesIO()
    options = {"normalization_rule_name": "identity"}
    if rules:
        (folder / "rules.tsv").write_text(rules)
        options = {"normalization_rule_tsv": str(folder / "rules.tsv")}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 10),
        model_writer=written,
        model_type="char",
        vocab_size=80,
        hard_vocab_limit=False,
        character_coverage=1.0,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
        **options,
    )
    (folder / f"{name}.model").write_bytes(written.getvalue())
    return folder / f"{name}.model"


@pytest.fixture(scope="session")
def common_model(tmp_path_factory) -> Path:
    letters = [chr(c) for c in range(0x980, 0xD80) if fold(chr(c)) != chr(c)]
    rules = "".join(f"{ord(c):X}\t{ord(fold(c)):X}\n" for c in letters)
    return train_model(tmp_path_factory.mktemp("common"), "asr", SENTENCES, rules)


@pytest.fixture(scope="session")
def native_models(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("native")
    return [train_model(folder, "hi", SENTENCES[:1]), train_model(folder, "bn", SENTENCES[1:2])]


@pytest.fixture
def tokenizer(common_model) -> Tokenizer:
    return Tokenizer([common_model], script="common")


@pytest.fixture
def model(tokenizer) -> AcousticModel:
    torch.manual_seed(0)
    encoder = FastConformerConfig(
        num_layers=1,
        hidden_size=16,
        num_heads=2,
        subsampling_factor=4,
        subsampling_channels=4,
        lang_embedding="input",
    )
    rnnt = RNNTConfig(prediction="stateless", prediction_size=8, joint_size=8, max_symbols=2)
    config = AcousticModelConfig(
        langs=("hi", "bn", "en"), encoder=encoder, heads={"ctc": CTCConfig(), "rnnt": rnnt}
    )
    return AcousticModel(config, tokenizer)
