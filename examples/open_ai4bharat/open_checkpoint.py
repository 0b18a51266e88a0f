"""Open an AI4Bharat checkpoint without NeMo: open_checkpoint.py CHECKPOINT AUDIO LANG OUT.

CHECKPOINT is an IndicConformer archive (.nemo), or a folder of the published ONNX files.
"""

import sys
from pathlib import Path

import maya_encoder


def main(checkpoint: str, audio: str, lang: str, out: str) -> None:
    """Tell what is inside, transcribe with every head, keep it as a Maya folder."""
    model = maya_encoder.load(checkpoint)
    settings = model.config.encoder
    print(f"{type(model.encoder).__name__} of {settings.num_layers} x {settings.hidden_size},", end=" ")
    print(f"heads {', '.join(model.heads)}, languages {' '.join(model.langs)}")
    for note in model.import_notes:
        print(f"note: {note}")
    for head in model.heads:
        (hypothesis,) = model.transcribe(audio, lang=lang, head=head)
        print(f"{head}: {hypothesis.text}")
        for word in hypothesis.words:
            print(f"    {word.start:6.2f} {word.end:6.2f}  {word.text}")
    model.save(Path(out))
    print(f"wrote {out}, which every command of Maya opens")


if __name__ == "__main__":
    main(*sys.argv[1:])
