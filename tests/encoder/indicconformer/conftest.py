"""A tiny Conformer in the layout of the published IndicConformer-600M, made by torch's exporter.

The modules below stand for those that were exported: names, order and kinds of operations as there. No part
of the real files is here.
"""

import json
import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.fastconformer import FastConformerConfig
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.rnnt import RNNTConfig
from maya_encoder.interop.sentencepiece_proto import (
    ModelKind,
    Piece,
    PieceKind,
    SentencePieceModel,
    serialize_model,
)
from maya_encoder.tokenizer import Tokenizer

LANGS = ("as", "kok", "hi")  # neither the order of the alphabet nor that of vocab.json
MELS = 16


class PreEncode(nn.Module):
    def __init__(self, ours):
        super().__init__()
        self.conv = nn.Sequential(*(_plain(layer) for layer in ours.conv))
        self.out = ours.out

    def forward(self, x):
        x = self.conv(x.unsqueeze(1))
        return self.out(x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1))


def _plain(layer):
    if not isinstance(layer, nn.Conv2d):
        return nn.ReLU()
    sizes = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, **sizes)
    plain.load_state_dict(layer.state_dict())
    return plain


class FeedForward(nn.Module):
    def __init__(self, ours):
        super().__init__()
        self.linear1, self.linear2 = ours.linear1, ours.linear2

    def forward(self, x):
        return self.linear2(F.silu(self.linear1(x)))


class Attention(nn.Module):
    def __init__(self, ours):
        super().__init__()
        for name in ("q", "k", "v", "out", "pos"):
            setattr(self, f"linear_{name}", getattr(ours, f"linear_{name}"))
        self.pos_bias_u, self.pos_bias_v = ours.pos_bias_u, ours.pos_bias_v
        self.heads, self.size = ours.num_heads, ours.head_size

    def split(self, x):
        return x.view(x.shape[0], -1, self.heads, self.size)

    def forward(self, x, mask, pos):
        q, k, v = (self.split(f(x)) for f in (self.linear_q, self.linear_k, self.linear_v))
        p = self.split(self.linear_pos(pos)).transpose(1, 2)
        content = (q + self.pos_bias_u).transpose(1, 2) @ k.permute(0, 2, 3, 1)
        scores = F.pad((q + self.pos_bias_v).transpose(1, 2) @ p.transpose(2, 3), (1, 0))
        b, h, t, n = scores.shape
        scores = scores.view(b, h, n, t)[:, :, 1:].reshape(b, h, t, n - 1)[..., :t]
        weights = ((content + scores) / math.sqrt(self.size)).masked_fill(mask, -10000.0).softmax(-1)
        x = (weights @ v.transpose(1, 2)).transpose(1, 2).reshape(b, t, -1)
        return self.linear_out(x)


class Convolution(nn.Module):
    def __init__(self, ours):
        super().__init__()
        for name in ("pointwise_conv1", "depthwise_conv", "batch_norm", "pointwise_conv2"):
            setattr(self, name, getattr(ours, name))

    def forward(self, x, pad):
        x = F.glu(self.pointwise_conv1(x.transpose(1, 2)), dim=1).masked_fill(pad.unsqueeze(1), 0.0)
        x = self.batch_norm(self.depthwise_conv(x))
        return self.pointwise_conv2(F.silu(x)).transpose(1, 2)


class Layer(nn.Module):
    def __init__(self, ours):
        super().__init__()
        for name in ("feed_forward1", "self_att", "conv", "feed_forward2", "out"):
            setattr(self, f"norm_{name}", getattr(ours, f"norm_{name}"))
        self.feed_forward1, self.feed_forward2 = map(FeedForward, (ours.feed_forward1, ours.feed_forward2))
        self.self_attn, self.conv = Attention(ours.self_attn), Convolution(ours.conv)

    def forward(self, x, mask, pos, pad):
        x = x + 0.5 * self.feed_forward1(self.norm_feed_forward1(x))
        x = x + self.self_attn(self.norm_self_att(x), mask, pos)
        x = x + self.conv(self.norm_conv(x), pad)
        x = x + 0.5 * self.feed_forward2(self.norm_feed_forward2(x))
        return self.norm_out(x)


class Positions(nn.Module):
    def __init__(self, size, scale):
        super().__init__()
        self.scale = scale
        distance = torch.arange(199, -200, -1.0)[:, None]
        rates = torch.exp(torch.arange(0, size, 2) * -(math.log(10000.0) / size))
        table = torch.stack([(distance * rates).sin(), (distance * rates).cos()], -1).flatten(1)
        self.register_buffer("pe", table.unsqueeze(0), persistent=False)

    def forward(self, x):
        x = x * self.scale if self.scale else x
        middle = self.pe.shape[1] // 2
        return x, self.pe[:, middle - x.shape[1] + 1 : middle + x.shape[1]]


class Encoder(nn.Module):
    def __init__(self, ours):
        super().__init__()
        self.pre_encode = PreEncode(ours.pre_encode)
        self.pos_enc = Positions(ours.hidden_size, math.sqrt(ours.hidden_size) if ours.config.xscaling else 0)
        self.layers = nn.ModuleList(map(Layer, ours.layers))
        self.halvings = int(math.log2(ours.subsampling_factor))

    def forward(self, audio_signal, length):
        for _ in range(self.halvings):
            length = torch.div(length + 1, 2, rounding_mode="floor")
        x, pos = self.pos_enc(self.pre_encode(audio_signal.transpose(1, 2)))
        pad = torch.arange(x.shape[1]) >= length.unsqueeze(1)
        mask = pad.unsqueeze(1).unsqueeze(1)
        for layer in self.layers:
            x = layer(x, mask, pos, pad)
        return x.transpose(1, 2), length


class CTC(nn.Module):
    def __init__(self, ours):
        super().__init__()
        self.decoder_layers = ours.decoder_layers

    def forward(self, encoder_output):
        return F.log_softmax(self.decoder_layers(encoder_output).transpose(1, 2), dim=-1)


class Decoder(nn.Module):
    def __init__(self, ours):
        super().__init__()
        self.prediction = nn.ModuleDict({"embed": ours.embed, "dec_rnn": ours.dec_rnn})

    def forward(self, targets, target_length, h, c):
        x, (h, c) = self.prediction["dec_rnn"]["lstm"](self.prediction["embed"](targets), (h, c))
        return x.transpose(1, 2), target_length, h, c


def pieces_of(lang):
    # Merges first, letters behind them, as SentencePiece trains BPE.
    return ["<unk>", f"\u2581{lang}", "ab", "ba", "\u2581", "a", "b", *lang]


def make_model(**settings):
    torch.manual_seed(0)
    protos = {}
    for lang in LANGS:
        texts = list(dict.fromkeys(pieces_of(lang)))[:8]
        listed = [Piece(text, -float(i)) for i, text in enumerate(texts)]
        listed[0].kind = PieceKind.UNKNOWN
        protos[lang] = serialize_model(SentencePieceModel(listed, ModelKind.BPE))
    sizes = {"num_layers": 2, "hidden_size": 16, "num_heads": 2, "subsampling_channels": 4, "conv_kernel": 5}
    usual = {"masked_subsampling": False, "use_bias": True, "xscaling": True}
    rnnt = RNNTConfig(prediction_size=8, joint_size=12, num_layers=2, lang_outputs=True, max_symbols=3)
    config = AcousticModelConfig(
        encoder=FastConformerConfig(**{**sizes, **usual, **settings}),
        heads={"ctc": CTCConfig(), "rnnt": rnnt},
        langs=LANGS,
        frontend={"num_mels": MELS, "frontend": "legacy"},
        multisoftmax=True,
    )
    model = AcousticModel(config, Tokenizer(protos)).eval()
    for name, tensor in model.state_dict().items():
        if "running" in name or "norm" in name:
            tensor.copy_(torch.rand_like(tensor.float()) + 0.5)
        elif tensor.is_floating_point() and not name.endswith("embed.weight"):
            tensor.copy_(0.4 * torch.randn_like(tensor))
    return model


def parts_of(model):
    """Name, module, inputs by name, outputs, free axes of every component."""
    head = model.heads["rnnt"]
    features = {"audio_signal": torch.randn(2, MELS, 60), "length": torch.tensor([60, 33])}
    free = {"audio_signal": {0: "b", 2: "t"}, "length": {0: "b"}, "outputs": {0: "b", 2: "t"}}
    yield "encoder", Encoder(model.encoder), features, ["outputs", "encoded_lengths"], free
    frames = {"encoder_output": torch.randn(1, 16, 7)}
    yield "ctc_decoder", CTC(model.heads["ctc"]), frames, ["logprobs"], {"encoder_output": {2: "t"}}
    state = torch.zeros(2, 1, 8)
    step = {
        "targets": torch.tensor([[1]]),
        "target_length": torch.tensor([1]),
        "states.1": state,
        "onnx::Slice_3": state,
    }
    yield "rnnt_decoder", Decoder(head.prediction), step, ["outputs", "prednet_lengths", "states"], {}
    linears = {"joint_enc": head.joint.enc, "joint_pred": head.joint.pred}
    linears |= {f"joint_post_net_{lang}": head.joint.output(i) for i, lang in enumerate(LANGS)}
    for name, linear in linears.items():
        yield name, linear, {"input": torch.randn(1, 3, linear.in_features)}, ["output"], {"input": {1: "t"}}
    yield "joint_pre_net", nn.Sequential(nn.ReLU()), {"input": torch.randn(1, 3, 12)}, ["output"], {}


def export(model, assets):
    for name, module, inputs, outputs, free in parts_of(model):
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(assets / f"{name}.onnx"),
            dynamo=False,
            opset_version=17,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=free,
        )


def write_json(model, assets):
    size = model.tokenizer.vocab_size
    masks, vocabulary = {}, {}
    for lang, ids in sorted(model.tokenizer.lang_vocab().items()):
        masks[lang] = [row in ids or row == size for row in range(size + 1)]
        vocabulary[lang] = [*(model.tokenizer.piece(i) for i in ids), "<blank>"]
    (assets / "vocab.json").write_text(json.dumps(vocabulary))
    (assets / "language_masks.json").write_text(json.dumps(masks))
    (assets.parent / "config.json").write_text(json.dumps({"model_type": "iasr", "BLANK_ID": 8}))


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A model, and its folder in ONNX with every large tensor in a file of its own."""
    pytest.importorskip("onnx")
    return publish_onnx(make_model(), tmp_path_factory.mktemp("published"))


@pytest.fixture
def publish(tmp_path):
    """Publishes a model with other settings."""
    pytest.importorskip("onnx")
    return lambda **settings: publish_onnx(make_model(**settings), tmp_path)


@pytest.fixture
def publish_torchscript(tmp_path):
    """Publishes a model in TorchScript."""

    def publish(front_end):
        model, assets = make_model(), tmp_path / "assets"
        assets.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name, module, inputs, _, _ in parts_of(model):
                torch.jit.save(torch.jit.trace(module.eval(), tuple(inputs.values())), assets / f"{name}.ts")
            torch.jit.save(torch.jit.trace(front_end, torch.zeros(1)), assets / "preprocessor.ts")
        write_json(model, assets)
        return model, tmp_path

    return publish


def publish_onnx(model, folder):
    import onnx

    (folder / "assets").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(model, folder / "assets")
    file = folder / "assets/encoder.onnx"
    graph = onnx.load(file)
    tensors = list(graph.graph.initializer)
    tensors += [node.attribute[0].t for node in graph.graph.node if node.op_type == "Constant"]
    for number, tensor in enumerate(tensors):
        if len(tensor.raw_data) > 256:
            name = tensor.name.replace(":", "_") or f"Constant_{number}_attr__value"
            onnx.external_data_helper.set_external_data(tensor, location=name)
    onnx.save_model(graph, file)
    write_json(model, folder / "assets")
    return model, folder
