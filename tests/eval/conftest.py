import random

import pytest

from maya_eval.hypotheses import Hypothesis

WORDS = {
    "hi": "आज मौसम बहुत अच्छा है क्षत्रिय ज़रूर",
    "ta": "இன்று திங்கள்கிழமை மழை பெய்யும்",
    "en": "the train leaves at seven",
}


@pytest.fixture
def hypotheses():
    """Two noisy systems' worth of utterances in three scripts, ten a language, two voices."""
    rng = random.Random(7)
    rows = []
    for lang, text in WORDS.items():
        words = text.split()
        for i in range(10):
            ref = [*rng.sample(words, 3), str(i)]
            hyp = [rng.choice(words) if rng.random() < 0.3 else word for word in ref if rng.random() > 0.1]
            row = {"utt_id": f"{lang}-{i}", "lang": lang, "text": " ".join(ref), "pred_text": " ".join(hyp)}
            rows.append(Hypothesis(**row, duration=2.0, speaker=f"voice{i % 2}"))
    return rows


@pytest.fixture
def summary():
    """A summary as a demo run writes it."""
    rows = [
        {"lang": lang, "head": head, "split": split, "wer": rate, "cer": rate / 4, "utterances": 10}
        for lang in WORDS
        for head, wer in (("llm", 0.12), ("ctc", 0.21))
        for split, rate in (("test", wer), ("control", 1.02))
    ]
    seconds = {"data": 61.2, "encoder": 312.0}
    versions = {"maya_eval": "0.1.0", "torch": "2.13.0"}
    return {"rows": rows, "seconds": seconds, "peak_gib": 2.3, "versions": versions, "rtf": {"ctc": 0.011}}
