"""Fine-tune any checkpoint's CTC on a folder of wavs: finetune.py START WAVS OUT LANG [EPOCHS] [RATE]."""

import random
import sys
from pathlib import Path

import torch

import maya_encoder
from maya_encoder.audio import load_audio, pad_waveforms

start, wavs, out, lang, *rest = sys.argv[1:]
epochs, peak = int(rest[0]) if rest else 20, float(rest[1]) if rest[1:] else 2e-4

model = maya_encoder.load(start).train()
lines = Path(wavs, "transcripts.tsv").read_text(encoding="utf-8").splitlines()
named = [line.split("\t") for line in lines if line]  # name of the file, tab, what is said in it
data = [(load_audio(Path(wavs, name), model.frontend.sampling_rate), text) for name, text in named]
data.sort(key=lambda pair: len(pair[0]))  # neighbours are of like length
batches = [data[i : i + 8] for i in range(0, len(data), 8)]

optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=epochs * len(batches))
for epoch in range(1, epochs + 1):
    for batch in random.sample(batches, len(batches)):
        langs = [lang] * len(batch)
        tokens, token_lens = model.tokenize([text for _, text in batch], langs)
        encoder_out, lens = model.encode(*pad_waveforms([audio for audio, _ in batch]), langs)
        loss = model.head("ctc").loss(encoder_out, lens, tokens, token_lens, reduction="mean_batch")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    print(f"epoch {epoch} of {epochs}: loss {loss.item():.2f}")

model.eval().save(out)
for name, text in named[:3]:
    print(f"{name}: {text} -> {model.transcribe(Path(wavs, name), lang=lang, head='ctc')[0].text}")
