"""Tiny models made and run by NeMo itself, for tests/encoder/test_nemo_goldens.py; see README.md here.

Usage: python make_nemo_goldens.py [FOLDER]
"""

import gzip
import json
import shutil
import sys
from pathlib import Path

import nemo
import numpy as np
import torch
import torch.nn.functional as F
from nemo.collections.asr.losses.rnnt_pytorch import RNNTLossPytorch, TDTLossPytorch
from nemo.collections.asr.parts.preprocessing.features import FilterbankFeatures
from nemo.collections.asr.parts.submodules import subsampling
from nemo_recipes import DURATIONS, WORK, recipes
from omegaconf import OmegaConf
from safetensors.torch import save_file

OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "nemo"
SAMPLES = (7900, 6100, 3300)


def waveforms() -> torch.Tensor:
    """Bursts of noise over a rising sawtooth, the same everywhere: integers only."""
    noise, value = [], 12345
    for i in range(len(SAMPLES) * SAMPLES[0]):
        value = (1103515245 * value + 12345) % 2**31
        noise.append(((value >> 16) % 8192 - 4096) >> (i // 1500) % 4 * 2)
    place = np.arange(SAMPLES[0])
    saw = place * (20 + place // 40) % 16384 - 8192
    return torch.tensor(np.array(noise).reshape(len(SAMPLES), -1) + saw, dtype=torch.int16)


def legacy(on: bool) -> None:
    """Compute features and subsampling as NeMo did before 2.5 (pull request 13827), or as it does now."""
    if not on:
        FilterbankFeatures.forward, FilterbankFeatures.stft, FilterbankFeatures.get_seq_len = MODERN[:3]
        subsampling.apply_channel_mask = MODERN[3]
        return

    def forward(self, x, seq_len, linear_spec=False):
        x = torch.cat((x[:, :1], x[:, 1:] - 0.97 * x[:, :-1]), dim=1)
        self.preemph = None
        return MODERN[0](self, x, seq_len, linear_spec)

    def stft(self, x):
        window = self.window.to(torch.float)
        return torch.stft(x, self.n_fft, self.hop_length, self.win_length, window, return_complex=True)

    FilterbankFeatures.forward, FilterbankFeatures.stft = forward, stft
    FilterbankFeatures.get_seq_len = lambda self, lens: MODERN[2](self, lens) + 1
    subsampling.apply_channel_mask = lambda tensor, mask: tensor


MODERN = (
    FilterbankFeatures.forward,
    FilterbankFeatures.stft,
    FilterbankFeatures.get_seq_len,
    subsampling.apply_channel_mask,
)


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights that make lively outputs, of few bits so that archives compress."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point() or name.startswith("preprocessor"):
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(1 + 0.5 * noise.abs())
            elif tensor.dim() < 2 or "pos_bias" in name:
                is_norm = "norm" in name and name.endswith("weight")
                tensor.copy_(is_norm + 0.2 * noise)
            else:
                fan_in = tensor[0].numel()
                loud = "decoder_layers" in name or name.startswith("joint")
                tensor.copy_(noise * (3 if loud else 1.5) / fan_in**0.5)
            tensor.copy_(tensor.to(torch.bfloat16).float())
        if hasattr(model.decoder, "prediction"):
            model.decoder.prediction["embed"].weight[-1] = 0
        for layer in model.encoder.layers[1:]:
            if model.cfg.encoder.get("untie_biases") is False:
                assert layer.self_attn.pos_bias_u is model.encoder.layers[0].self_attn.pos_bias_u


@torch.no_grad()
def enliven(model, waves: torch.Tensor) -> None:
    """Shift output biases so that no label wins everywhere, and the blank in half of all cells."""
    model.eval()
    mel, lens = model.preprocessor(input_signal=waves.float() / 32768, length=torch.tensor(SAMPLES))
    encoded, lens = model.encoder(audio_signal=mel, length=lens)
    encoded, blank = encoded[:1, :, : lens[0]], model.tokenizer.vocab_size
    for name, layer in model.named_modules():
        if not name.endswith(("joint_net", "decoder_layers")):
            continue
        if name.endswith("decoder_layers"):
            scores = layer(encoded).transpose(1, 2)
        else:
            tokens = torch.arange(blank)[None]
            states, _, _ = model.decoder(targets=tokens, target_length=torch.tensor([blank]))
            scores = model.joint(encoder_outputs=encoded, decoder_outputs=states)
        scores = scores.flatten(0, -2)[:, : blank + 1]
        scores -= (centre := scores.mean(0))
        bias = layer[-1].bias[: blank + 1]
        bias -= centre.to(torch.bfloat16).float()
        bias[-1] += (scores[:, :-1].amax(-1) - scores[:, -1]).median().to(torch.bfloat16).float()


def run(model, heads: tuple[str, ...], waves: torch.Tensor) -> tuple[dict, dict]:
    """Every tensor and hypothesis of a model on the shared inputs, in evaluation mode."""
    model.eval()
    lens = torch.tensor(SAMPLES)
    mel, mel_lens = model.preprocessor(input_signal=waves.float() / 32768, length=lens)
    encoded, encoded_lens = model.encoder(audio_signal=mel, length=mel_lens)
    tensors = {"mel": mel, "mel_lens": mel_lens, "encoder": encoded.transpose(1, 2), "lens": encoded_lens}
    if hasattr(model, "prompt_kernel"):
        places = F.one_hot(torch.tensor([4, 0, 4]), 6).float()[:, None].expand(-1, encoded.shape[2], -1)
        encoded = model.prompt_kernel(torch.cat([encoded.transpose(1, 2), places], -1)).transpose(1, 2)
        tensors["prompted"] = encoded.transpose(1, 2)
    generator = torch.Generator().manual_seed(7)
    vocabulary = model.tokenizer.vocab_size
    token_lens = torch.tensor([4, 2, 1])
    tokens = torch.randint(1, vocabulary, (3, 4), generator=generator)
    tensors |= {"tokens": tokens, "token_lens": token_lens}
    total, texts = torch.zeros(()), {}
    if "ctc" in heads:
        total = total + ctc(model, encoded, encoded_lens, tensors, texts)
    if heads[0] != "ctc":
        total = total + transducer(model, heads[0], encoded, encoded_lens, tensors, texts)
    total.backward()
    for name in watched(model):
        tensors[f"grad.{name}"] = dict(model.named_parameters())[name].grad
    return {key: value.detach().contiguous() for key, value in tensors.items()}, texts


def ctc(model, encoded, lens, tensors: dict, texts: dict) -> torch.Tensor:
    head = model.ctc_decoder if hasattr(model, "ctc_decoder") else model.decoder
    log_probs = head(encoder_output=encoded)
    loss = F.ctc_loss(
        log_probs.transpose(0, 1),
        tensors["tokens"],
        lens,
        tensors["token_lens"],
        blank=model.tokenizer.vocab_size,
        reduction="none",
        zero_infinity=True,
    )
    tensors |= {"ctc.log_probs": log_probs, "ctc.loss": loss}
    decoding = model.ctc_decoding if hasattr(model, "ctc_decoding") else model.decoding
    found = decoding.ctc_decoder_predictions_tensor(log_probs, lens, return_hypotheses=True)
    texts["ctc"] = [hypothesis.text for hypothesis in found]
    return loss.sum()


def transducer(model, kind: str, encoded, lens, tensors: dict, texts: dict) -> torch.Tensor:
    token_lens = tensors["token_lens"]
    states, _, _ = model.decoder(targets=tensors["tokens"], target_length=token_lens)
    joint = model.joint(encoder_outputs=encoded, decoder_outputs=states)
    blank = model.tokenizer.vocab_size
    loss_of = RNNTLossPytorch(blank=blank, reduction="none")
    if kind == "tdt":
        torch.Tensor.cuda = lambda self: self  # this loss of NeMo's always asks for a GPU
        loss_of = TDTLossPytorch(blank=blank, durations=DURATIONS, reduction="none", sigma=0.02)
    rows = zip(joint, tensors["tokens"], lens, token_lens, strict=True)
    losses = [
        loss_of(acts=j[None, :t, : u + 1], labels=y[None, :u], act_lens=t[None], label_lens=u[None]).view(())
        for j, y, t, u in rows
    ]
    tensors |= {"joint": joint[0], f"{kind}.loss": torch.stack(losses)}
    found = model.decoding.rnnt_decoder_predictions_tensor(encoded, lens, return_hypotheses=True)
    texts[kind] = [hypothesis.text for hypothesis in found]
    texts[f"{kind}.tokens"] = [torch.as_tensor(hypothesis.y_sequence).tolist() for hypothesis in found]
    texts[f"{kind}.frames"] = [torch.as_tensor(hypothesis.timestamp).tolist() for hypothesis in found]
    return torch.stack(losses).sum()


def watched(model) -> list[str]:
    wanted = (
        "pre_encode.conv.0.weight",
        "layers.0.self_attn.pos_bias_u",
        "layers.0.self_attn.linear_pos.weight",
        "layers.1.conv.depthwise_conv.weight",
        "layers.1.norm_out.weight",
        "decoder_layers.0.bias",
        "prediction.embed.weight",
        "joint.pred.bias",
        "prompt_kernel.0.bias",
    )
    return [name for name, _ in model.named_parameters() if name.endswith(wanted)]


def main() -> None:
    shutil.rmtree(WORK, ignore_errors=True)
    for folder in (OUT, WORK):
        folder.mkdir(parents=True, exist_ok=True)
    waves, made = waveforms(), recipes()
    mels = {}
    for seed, (name, (kind, settings, heads)) in enumerate(made.items()):
        torch.manual_seed(seed)
        legacy(name.startswith("legacy"))
        model = kind(cfg=OmegaConf.create(settings))
        randomise(model, 100 + seed)
        enliven(model, waves)
        tensors, texts = run(model, heads, waves)
        legacy(False)
        if name.startswith("legacy"):  # what the version that computes this way would have written
            model.cfg.nemo_version = "1.23.0"
        with torch.no_grad():
            archive = OUT / f"{name}.nemo"
            model.save_to(str(archive))
        archive.write_bytes(gzip.compress(archive.read_bytes(), 9, mtime=0))  # as older versions did
        mel = tensors.pop("mel")
        if name in ("ctc", "legacy"):
            mels[f"mel.{name}"] = mel
        save_file(tensors, OUT / f"{name}.safetensors")
        (OUT / f"{name}.json").write_text(json.dumps(texts, ensure_ascii=False))
        print(name, tensors["lens"].tolist(), texts)
    save_file(
        {"waveforms": waves, "waveform_lens": torch.tensor(SAMPLES), **mels}, OUT / "shared.safetensors"
    )
    (OUT / "version.txt").write_text(f"nemo_toolkit {nemo.__version__}, torch {torch.__version__}\n")
    shutil.rmtree(WORK)


if __name__ == "__main__":
    main()
