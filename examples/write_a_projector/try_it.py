"""The projector in a whole model: found by its name, trained for a few steps, saved, opened again."""

import io
import sys
from pathlib import Path

import sentencepiece
import torch

import maya_bridge
from maya_bridge.llm import LLMConfig
from maya_encoder import AcousticModel, AcousticModelConfig, CTCConfig, FastConformerConfig, Tokenizer
from maya_encoder.plugins import find

TEXTS = ["go on", "no go"]


def main(out: Path) -> None:
    """Train on noise: two clips, two texts."""
    torch.manual_seed(0)
    projector = find("projectors", "pair_gate")(hidden_size=64)
    tiny = LLMConfig(source="tiny", hidden_size=32, num_layers=1, num_heads=2)
    model = maya_bridge.make_speech_llm(acoustic_model(), projector, tiny).train()
    waveforms, lens = torch.randn(2, 16000), torch.tensor([16000, 12000])
    with torch.no_grad():
        speech = model.encode_speech(waveforms, lens, ["en", "en"])
    optimizer = torch.optim.AdamW([*model.projector.parameters(), *model.llm.parameters()], lr=3e-3)
    for step in range(61):
        parts = model.loss(speech, TEXTS, ["en", "en"])
        loss = parts.loss_sum / parts.num_tokens
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step}: loss {loss.item():.3f} nats a token")
    model.eval()
    maya_bridge.save(model, out)
    again = maya_bridge.load(out)
    print(f"opened {out} again: {type(again.projector).__name__}")


def acoustic_model() -> AcousticModel:
    """A small encoder with a CTC head, as it comes."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=written,
        model_type="char",
        normalization_rule_name="identity",
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    encoder = FastConformerConfig(num_layers=1, hidden_size=32, num_heads=2, subsampling_channels=8)
    config = AcousticModelConfig(langs=["en"], encoder=encoder, heads={"ctc": CTCConfig()})
    return AcousticModel(config, Tokenizer({"asr": written.getvalue()})).eval()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
