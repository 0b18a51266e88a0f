import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from maya_eval.plugins import find
from maya_eval.transcribers import float_samples
from maya_eval.transcribers.faster_whisper import FasterWhisper
from maya_eval.transcribers.hf_pipeline import HfPipeline

NOISE = np.random.default_rng(0).integers(-3000, 3000, 16000).astype(np.int16)
SPECIAL = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|hi|>", "<|ta|>")
SPECIAL += ("<|translate|>", "<|transcribe|>", "<|notimestamps|>")


@pytest.mark.parametrize("name", ["hf-pipeline", "faster-whisper"])
def test_both_are_found_by_their_entry_point(name):
    plugin = find("transcribers", name)
    assert plugin().name == name


@pytest.fixture(scope="module")
def ctc_model(tmp_path_factory):
    """A random wav2vec2 with ten letters."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder = tmp_path_factory.mktemp("ctc")
    vocab = ["<pad>", "<unk>", "|", *"कखगघचछजझटठ"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(vocab)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), unk_token="<unk>", pad_token="<pad>")
    config = Wav2Vec2Config(
        vocab_size=len(vocab),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        conv_dim=(8, 8),
        conv_stride=(40, 8),
        conv_kernel=(40, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    Wav2Vec2ForCTC(config).eval().save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=False)
    Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def whisper_model(tmp_path_factory):
    """A random Whisper that knows three languages and has no pad token."""
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = tmp_path_factory.mktemp("whisper")
    vocab = {token: i for i, token in enumerate([*bytes_to_unicode().values(), *SPECIAL])}
    tokenizer = WhisperTokenizer(vocab=vocab, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:])})
    end, start = vocab["<|endoftext|>"], vocab["<|startoftranscript|>"]
    ends = {"pad_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}
    config = WhisperConfig(
        vocab_size=len(vocab),
        num_mel_bins=8,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=32,
        bos_token_id=end,
        **ends,
    )
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config).eval()
    model.generation_config = GenerationConfig(
        **ends,
        is_multilingual=True,
        lang_to_id={name: vocab[name] for name in SPECIAL[2:5]},
        task_to_id={"transcribe": vocab["<|transcribe|>"], "translate": vocab["<|translate|>"]},
        no_timestamps_token_id=vocab["<|notimestamps|>"],
        max_length=32,
    )
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=8), tokenizer).save_pretrained(folder)
    return str(folder)


def test_a_ctc_model_is_run_by_the_pipeline_whatever_the_batch(ctc_model):
    loaded = HfPipeline().build(ctc_model)
    audio = [NOISE, NOISE[:8000], NOISE[4000:]]
    together = loaded.transcribe(audio, ["hi", "ta", "hi"], batch_size=1)
    assert all(set(item.text) <= set("कखगघचछजझटठ ") and item.text for item in together)
    alone = [loaded.transcribe([samples], "hi")[0] for samples in audio]
    assert together == alone
    assert loaded.dtype == "float32"


def test_a_whisper_is_told_the_language_that_it_knows(whisper_model, monkeypatch):
    loaded = HfPipeline(max_new_tokens=4).build(whisper_model)
    told = []
    generate = loaded.pipeline.model.generate

    def listening(*args, **kwargs):
        told.append((kwargs.get("language"), kwargs.get("task"), kwargs.get("num_beams")))
        return generate(*args, **kwargs)

    monkeypatch.setattr(loaded.pipeline.model, "generate", listening)
    assert len(loaded.transcribe([NOISE] * 4, ["hi", "or", "hi", "ta"], batch_size=2)) == 4
    assert told == [("hi", "transcribe", 1), (None, "transcribe", 1), ("ta", "transcribe", 1)]
    told.clear()
    loaded.config.tell_language = False
    loaded.transcribe([NOISE], "hi")
    assert told == [(None, "transcribe", 1)]


def test_a_run_with_the_pipeline_writes_and_scores(ctc_model, tmp_path, capsys):
    import soundfile

    from maya_eval.cli import main

    (tmp_path / "mini_reader.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(kw_only=True)\nclass Reader:\n    name: str = 'mini'\n    root: str = ''\n"
        "    def build(self):\n"
        "        yield {'id': 'a', 'lang': 'hi', 'text': 'क ख', 'shard': 'a.wav'}\n"
    )
    soundfile.write(tmp_path / "a.wav", NOISE, 16000)
    (tmp_path / "b.yaml").write_text(
        f"name: B\nwhere: here\nroot: {tmp_path}\nreader: {{name: 'mini_reader:Reader', root: '{{root}}'}}\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        arguments = [
            "run",
            "--system",
            "hf-pipeline",
            "--model",
            ctc_model,
            "--benchmark",
            str(tmp_path / "b.yaml"),
        ]
        assert main([*arguments, "--out", str(tmp_path / "h.jsonl"), "--set", "chunk_length_s=0"]) == 0
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("mini_reader", None)
    line = json.loads((tmp_path / "h.jsonl").read_text())
    assert (line["dtype"], line["duration"]) == ("float32", 1.0)
    assert main(["score", str(tmp_path / "h.jsonl")]) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": "int3"}, "`dtype` must be one of float32, float16, bfloat16, auto, got 'int3'"),
        ({"num_beams": 0}, "`num_beams` must be 1 or more, got 0"),
        ({"chunk_length_s": -1.0}, "`chunk_length_s` must be 0 or more"),
    ],
)
def test_settings_of_the_pipeline_are_checked(fields, message):
    with pytest.raises(ValueError, match=message):
        HfPipeline(**fields)


class FakeWhisper:
    """Stands for faster_whisper.WhisperModel: remembers what it was asked."""

    supported_languages = ("en", "hi", "ta")

    def __init__(self, model, **settings):
        self.settings, self.calls = {"model": model, **settings}, []
        self.model = SimpleNamespace(compute_type="int8")

    def transcribe(self, audio, **asked):
        self.calls.append((audio, asked))
        segments = (SimpleNamespace(text=text) for text in (" नमस्ते", " दुनिया"))
        return segments, SimpleNamespace(language=asked["language"] or "ne")


@pytest.fixture
def fake_whisper(monkeypatch):
    module = ModuleType("faster_whisper")
    module.WhisperModel = FakeWhisper
    monkeypatch.setitem(sys.modules, "faster_whisper", module)


def test_faster_whisper_is_asked_greedily_and_repeatably(fake_whisper):
    loaded = FasterWhisper(compute_type="int8").build("folder", device="cuda:1")
    outputs = loaded.transcribe([NOISE, NOISE], ["hi", "or"])
    assert [item.text for item in outputs] == ["नमस्ते दुनिया"] * 2
    assert [item.pred_lang for item in outputs] == [None, "ne"]  # Odia it has to guess
    settings = loaded.whisper.settings
    assert (settings["model"], settings["device"], settings["device_index"]) == ("folder", "cuda", 1)
    assert loaded.dtype == "int8"
    audio, asked = loaded.whisper.calls[0]
    assert audio.dtype == np.float32
    assert asked["language"] == "hi"
    assert (asked["beam_size"], asked["temperature"], asked["condition_on_previous_text"]) == (1, 0.0, False)


def test_faster_whisper_recognises_the_language_when_it_is_not_told(fake_whisper):
    loaded = FasterWhisper(tell_language=False, temperature_fallback=True).build("folder")
    assert loaded.transcribe([NOISE], "hi")[0].pred_lang == "ne"
    _, asked = loaded.whisper.calls[0]
    assert asked["language"] is None
    assert asked["temperature"][0] == 0.0


def test_settings_of_faster_whisper_are_checked():
    with pytest.raises(ValueError, match="`beam_size` must be 1 or more, got 0"):
        FasterWhisper(beam_size=0)


@pytest.mark.parametrize(
    ("plugin", "module", "extra"),
    [(HfPipeline, "transformers", "hf"), (FasterWhisper, "faster_whisper", "faster-whisper")],
)
def test_without_the_extra_the_install_line_is_given(plugin, module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"pip install 'maya-eval\[{extra}\]'"):
        plugin().build("m")


def test_samples_become_floats_of_the_same_loudness():
    assert float_samples(np.array([-32768, 16384], np.int16)).tolist() == [-1.0, 0.5]
    assert float_samples([0.25]).dtype == np.float32
