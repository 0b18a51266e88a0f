"""A few lines that open an export and transcribe `audio.wav`; the tests run them as they stand."""

_CTC = """
import soundfile
from transformers import AutoModelForCTC, AutoProcessor

folder = "."  # this folder, or its name on the hub
processor = AutoProcessor.from_pretrained(folder)
model = AutoModelForCTC.from_pretrained(folder)

samples, rate = soundfile.read("audio.wav")  # one channel, {rate} samples a second
inputs = processor(samples, sampling_rate=rate)
print(processor.batch_decode(model.generate(**inputs), skip_special_tokens=True)[0])
"""

_TRANSDUCER = """
import soundfile
from transformers import {auto}, AutoProcessor

folder = "."  # this folder, or its name on the hub
processor = AutoProcessor.from_pretrained(folder)
model = {auto}.from_pretrained(folder)

samples, rate = soundfile.read("audio.wav")  # one channel, {rate} samples a second
inputs = processor(samples, sampling_rate=rate)
ids = model.generate(**inputs, max_new_tokens=500).sequences
print(processor.batch_decode(ids, skip_special_tokens=True)[0].strip())
"""

_ONNX_ASR = """
import onnx_asr

model = onnx_asr.load_model("nemo-conformer-ctc", ".")  # this folder
print(model.recognize("audio.wav"))
"""

_ONNX = """
import json

import onnxruntime
import soundfile
import torch
from maya_encoder import LogMel, Tokenizer

session = onnxruntime.InferenceSession("model.onnx")
told = session.get_modelmeta().custom_metadata_map
langs, blank = json.loads(told["maya.langs"]), json.loads(told["maya.blank_id"])
frontend = LogMel({frontend}).eval()

samples, rate = soundfile.read("audio.wav", dtype="float32")  # one channel, {rate} samples a second
features, lens = frontend(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
inputs = {{"features": features.numpy(), "feature_lens": lens.numpy()}}
if "lang_ids" in [each.name for each in session.get_inputs()]:
    inputs["lang_ids"] = torch.tensor([langs.index("{lang}")]).numpy()
log_probs, _ = session.run(None, inputs)
best = torch.from_numpy(log_probs[0]).argmax(-1).unique_consecutive()
print(Tokenizer.load("tokenizer").decode([i for i in best.tolist() if i != blank], "{lang}"))
"""

_ACOUSTIC = """
import maya_encoder

model = maya_encoder.load(".")  # this folder
print(model.transcribe("audio.wav"{lang})[0].text)
"""

_SPEECH_LLM = """
import maya_bridge

model = maya_bridge.load(".")  # this folder
print(model.transcribe("audio.wav", langs="{lang}")[0].text)
"""

INSTALL = {
    "parakeet-ctc": "pip install 'transformers>=5' torch soundfile",
    "parakeet-rnnt": "pip install 'transformers>=5' torch soundfile",
    "parakeet-tdt": "pip install 'transformers>=5' torch soundfile",
    "onnx-asr": "pip install 'onnx-asr[cpu]'",
    "onnx": "pip install onnxruntime maya-encoder",
    "acoustic": "pip install maya-encoder",
    "speech_llm": "pip install maya-bridge",
}
"""What each layout needs."""


def snippet(layout: str, lang: str, frontend: dict[str, object]) -> str:
    """The lines for one layout.

    Args:
        layout: as `formats.Written.layout`.
        lang: a language that the model writes; empty where it names none.
        frontend: arguments of `LogMel`.
    """
    rate = frontend.get("sampling_rate", 16000)
    if layout == "parakeet-ctc":
        return _CTC.format(rate=rate).strip()
    if layout.startswith("parakeet-"):
        return _TRANSDUCER.format(auto=f"AutoModelFor{layout[9:].upper()}", rate=rate).strip()
    if layout == "onnx-asr":
        return _ONNX_ASR.strip()
    if layout == "onnx":
        arguments = ", ".join(f"{key}={value!r}" for key, value in frontend.items() if key != "dither")
        return _ONNX.format(frontend=arguments, lang=lang, rate=rate).strip()
    if layout == "acoustic":
        return _ACOUSTIC.format(lang=f', lang="{lang}"' if lang else "").strip()
    return _SPEECH_LLM.format(lang=lang or "auto").strip()
