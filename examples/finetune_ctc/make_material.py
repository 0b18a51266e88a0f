"""Something to try finetune.py on: spoken numbers as wavs, and a small model that has learnt nothing yet.

make_material.py WAVS START
"""

import io
import sys
from pathlib import Path

import sentencepiece
import soundfile
import torch

from maya_data.synth.espeak import espeak
from maya_encoder import AcousticModel, AcousticModelConfig, CTCConfig, FastConformerConfig, Tokenizer

WORDS = ("एक", "दो", "तीन")


def main(wavs: Path, start: Path) -> None:
    """Write both folders."""
    wavs.mkdir(parents=True)
    texts = [f"{first} {second}" for first in WORDS for second in WORDS if first != second]
    voice = espeak()
    for number, text in enumerate(texts):
        samples = voice.speak(text, "hi", rate=250, pitch=50)
        soundfile.write(wavs / f"{number:02}.wav", samples, voice.sampling_rate)
    lines = [f"{number:02}.wav\t{text}\n" for number, text in enumerate(texts)]
    (wavs / "transcripts.tsv").write_text("".join(lines), encoding="utf-8")

    torch.manual_seed(0)
    encoder = FastConformerConfig(
        num_layers=2, hidden_size=64, num_heads=4, subsampling_factor=4, subsampling_channels=16, dropout=0.0
    )
    config = AcousticModelConfig(langs=["hi"], encoder=encoder, heads={"ctc": CTCConfig()})
    AcousticModel(config, Tokenizer({"asr": characters(texts)})).save(start)
    print(f"wrote {len(texts)} wavs to {wavs} and a model to {start}")


def characters(texts: list[str]) -> bytes:
    """A SentencePiece model of single characters."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        model_type="char",
        character_coverage=1.0,
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return written.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
