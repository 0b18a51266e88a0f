import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sentencepiece as spm
import soundfile
import torch
from torch import nn

import maya_encoder
from maya_bridge import checkpoint
from maya_bridge.llm import LLMConfig
from maya_bridge.projectors.ctc_compress import CTCCompress
from maya_bridge.prompt import PromptConfig
from maya_bridge.speech_llm import EncodedSpeech, SpeechLLM, make_speech_llm
from maya_encoder import AcousticModel, AcousticModelConfig, Tokenizer
from maya_encoder.audio import pad_waveforms
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.script import unfold

LETTERS = "कखगचजतदनपबमयरलस"


class LetterPieces:
    """An acoustic tokenizer of one piece a letter, as SentencePiece names them."""

    pieces = ("<unk>", "\u2581", *LETTERS)
    vocab_size = len(pieces)

    def piece(self, index: int) -> str:
        return self.pieces[index]


class KeepHead(nn.Module):
    def forward(self, encoder_out: torch.Tensor) -> torch.Tensor:
        return encoder_out.log_softmax(-1)


class FrameModel(nn.Module):
    """Stands where an acoustic model does: its frames of V numbers are the CTC logits themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = LetterPieces()
        self.encoder = SimpleNamespace(hidden_size=LetterPieces.vocab_size + 1)
        self.heads = nn.ModuleDict({"ctc": KeepHead()})
        self.config = SimpleNamespace(heads={"ctc": None})

    def head(self, name: str) -> nn.Module:
        return self.heads[name]

    def encode(self, waveforms: torch.Tensor, lens: torch.Tensor, langs: list[str]):
        return waveforms, lens


@pytest.fixture
def letters() -> str:
    return LETTERS


@pytest.fixture
def make_model() -> Callable[..., SpeechLLM]:
    def make(projector=None, *, positions="restart", seed=0, **sizes) -> SpeechLLM:
        torch.manual_seed(seed)
        llm = LLMConfig(source="tiny", script="common", **{"hidden_size": 32, "num_heads": 2, **sizes})
        return make_speech_llm(
            FrameModel(), projector or CTCCompress(), llm, PromptConfig(positions=positions)
        )

    return make


@pytest.fixture
def spell() -> Callable[..., EncodedSpeech]:
    """Give frames whose CTC path spells the texts: a space first, a blank after each label."""

    def make(texts: list[str], noise: float = 0.3) -> EncodedSpeech:
        generator = torch.Generator().manual_seed(1)
        pieces, blank = LetterPieces.pieces, LetterPieces.vocab_size
        rows = []
        for text in texts:
            path = [i for c in " " + text for i in (pieces.index("\u2581" if c == " " else c), blank)]
            frames = torch.nn.functional.one_hot(torch.tensor(path), blank + 1) * 8.0
            rows.append(frames + noise * torch.randn(frames.shape, generator=generator))
        lens = torch.tensor([len(row) for row in rows])
        frames = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return EncodedSpeech(frames, lens, frames.log_softmax(-1))

    return make


@pytest.fixture
def sentences() -> list[str]:
    draw = random.Random(0)
    return [" ".join("".join(draw.choices(LETTERS, k=3)) for _ in range(words)) for words in (3, 1, 2, 3)]


def train_letter_tokenizer(folder: Path) -> Tokenizer:
    folder.mkdir()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(LETTERS)] * 5),
        model_prefix=str(folder / "asr"),
        vocab_size=len(LETTERS) + 2,
        model_type="char",
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return Tokenizer([folder / "asr.model"], script="common")


@pytest.fixture(scope="session")
def acoustic(tmp_path_factory) -> AcousticModel:
    """A real acoustic model with random weights."""
    torch.manual_seed(0)
    encoder = FastConformerConfig(num_layers=1, hidden_size=16, num_heads=2, subsampling_channels=8)
    config = AcousticModelConfig(encoder=encoder, langs=["bn", "hi"])
    return AcousticModel(config, train_letter_tokenizer(tmp_path_factory.mktemp("model") / "pieces")).eval()


class SpelledAudio(FrameModel):
    """Hears audio in which 40 ms as loud as k/32 are piece k, silence is the blank, and clipping is noise."""

    block = 640
    langs = ("bn", "hi")

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.encoder = SimpleNamespace(hidden_size=tokenizer.vocab_size + 1, subsampling_factor=4)
        self.frontend = SimpleNamespace(sampling_rate=16000, hop=160)

    def lang_ids(self, langs):
        return AcousticModel.lang_ids(self, langs)

    def optional_lang_ids(self, langs):
        return None

    @property
    def device(self):
        return torch.device("cpu")

    def encode(self, waveforms, lens, langs):
        padded = torch.nn.functional.pad(waveforms, (0, -waveforms.shape[1] % self.block))
        loudness = (padded.unflatten(1, (-1, self.block)).abs().amax(dim=2) * 32).round().long()
        blank = self.tokenizer.vocab_size
        frames = torch.nn.functional.one_hot(torch.where(loudness == 0, blank, loudness % blank), blank + 1)
        frames = frames * torch.where(loudness < 32, 8.0, 0.3)[..., None]
        return frames, -(-lens // self.block)


class SpelledHead(nn.Module):
    def forward(self, encoder_out, lang_ids=None):
        return encoder_out.log_softmax(-1)


@pytest.fixture(scope="session")
def letter_tokenizer(tmp_path_factory) -> Tokenizer:
    return train_letter_tokenizer(tmp_path_factory.mktemp("letters") / "pieces")


@pytest.fixture(scope="session")
def sound(letter_tokenizer) -> Callable[..., np.ndarray]:
    """Give the audio of a text as SpelledAudio hears it, silence before and after it."""

    def make(text: str, before: int = 2, after: int = 2) -> np.ndarray:
        block, pieces = SpelledAudio.block, letter_tokenizer.encode(text, "hi")
        levels = [0] * before + [level for piece in pieces for level in (piece, 0)] + [0] * after
        return np.repeat(np.array(levels, dtype=np.float32) / 32, block)

    return make


@pytest.fixture(scope="session")
def phrases() -> list[str]:
    draw = random.Random(3)
    return [" ".join("".join(draw.choices(LETTERS, k=3)) for _ in range(1 + n % 4)) for n in range(8)]


@pytest.fixture(scope="session")
def phrase_langs(phrases) -> list[str]:
    return ["bn" if n % 2 else "hi" for n in range(len(phrases))]


@pytest.fixture(scope="session")
def copier(letter_tokenizer, sound, phrases, phrase_langs) -> SpeechLLM:
    """A model that writes down `phrases`, having learnt them by heart; it also tells their language."""
    torch.manual_seed(0)
    acoustic = SpelledAudio(letter_tokenizer)
    acoustic.heads = nn.ModuleDict({"ctc": SpelledHead()})
    llm = LLMConfig(source="tiny", script="common", hidden_size=32, num_heads=2)
    prompt = PromptConfig(positions="restart", lid_prob=0.5)
    model = make_speech_llm(acoustic, CTCCompress(), llm, prompt)
    langs = phrase_langs
    texts = [unfold(text, lang) for text, lang in zip(phrases, langs, strict=True)]
    waveforms, lens = pad_waveforms([sound(text) for text in phrases])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    speech = model.encode_speech(waveforms, lens, langs)
    known = 0
    for _ in range(400):
        parts = model.loss(speech, texts, langs)
        loss = parts.loss_sum / parts.num_tokens
        known = known + 1 if loss < 0.005 else 0
        if known == 10:  # each step asks for the languages of other rows
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture
def speech_llm(acoustic) -> SpeechLLM:
    torch.manual_seed(0)
    llm = LLMConfig(source="tiny", script="common", hidden_size=32, num_heads=2)
    return make_speech_llm(acoustic, CTCCompress(), llm, PromptConfig(positions="restart")).eval()


@pytest.fixture
def speech_llm_folder(speech_llm, tmp_path) -> Path:
    checkpoint.save(speech_llm, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def acoustic_folder(acoustic, tmp_path) -> Path:
    maya_encoder.save(acoustic, tmp_path / "acoustic")
    return tmp_path / "acoustic"


@pytest.fixture
def tone(tmp_path) -> Path:
    """Half a second of sound in a file."""
    seconds = np.arange(8000) / 16000
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(440 * 2 * np.pi * seconds), 16000)
    return tmp_path / "tone.wav"
