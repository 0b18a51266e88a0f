"""The model card: README.md with YAML front matter, as the Hugging Face hub reads it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml  # type: ignore[import-untyped]

from maya_eval.languages import english_name
from maya_eval.normalize import PROFILES
from maya_train.publish.formats import Written
from maya_train.publish.licence import GEMMA_POLICY, GEMMA_TERMS, Licence
from maya_train.publish.limits import limits
from maya_train.publish.scores import Score
from maya_train.publish.snippets import INSTALL, snippet
from maya_train.publish.training_data import TrainingSpeech

TASK = "automatic-speech-recognition"
LIBRARIES = {
    "parakeet": "transformers",
    "onnx": "onnx",
    "acoustic": "maya-encoder",
    "speech_llm": "maya-bridge",
}


@dataclass(frozen=True, kw_only=True)
class Card:
    """All that a card tells."""

    name: str
    written: Written
    model: dict[str, Any]
    """As `maya_encoder.interop.convert.describe` tells of it."""
    speech: TrainingSpeech
    scores: Sequence[Score]
    test_set: str
    licence: Licence
    made_by: dict[str, str] = field(default_factory=dict)
    """Further facts, such as the recipe and the versions of the packages."""

    def text(self) -> str:
        """The whole file."""
        head = yaml.safe_dump(front_matter(self), allow_unicode=True, sort_keys=False, width=1000)
        sections = [_title, _use, _languages, _scores, _limits, _licence, _origin]
        return f"---\n{head}---\n\n" + "\n\n".join("\n".join(section(self)) for section in sections) + "\n"


def front_matter(card: Card) -> dict[str, Any]:
    """The card's keys for machines."""
    library = next(name for start, name in LIBRARIES.items() if card.written.layout.startswith(start))
    found: dict[str, Any] = {
        **({"language": list(card.written.langs)} if card.written.langs else {}),
        **card.licence.front_matter(),
        "library_name": library,
        "pipeline_tag": TASK,
        "tags": [TASK, "fastconformer", "maya-asr", *_tags(card.written.layout)],
    }
    if card.scores:
        found["metrics"] = ["wer", "cer"]
        rows = _of_the_default(card)
        found["model-index"] = [{"name": card.name, "results": [_result(card, row) for row in rows]}]
    return found


def _of_the_default(card: Card) -> list[Score]:
    """The scores of what writes unasked, if known, else all: a page shows one number a set."""
    first = [score for score in card.scores if score.system == card.written.systems[0]]
    return first or list(card.scores)


def _tags(layout: str) -> list[str]:
    return {"onnx-asr": ["onnx", "onnx-asr"], "onnx": ["onnx"]}.get(layout, [])


def _result(card: Card, score: Score) -> dict[str, Any]:
    arguments: dict[str, Any] = {"language": score.lang, "profile": score.profile, "system": score.system}
    interval = {} if score.interval is None else {"interval_95": [_percent(x) for x in score.interval]}
    metrics = [
        {"type": "wer", "value": _percent(score.wer), "name": f"WER ({score.profile})", "args": interval},
        {"type": "cer", "value": _percent(score.cer), "name": f"CER ({score.profile})"},
    ]
    return {
        "task": {"type": TASK, "name": f"Speech recognition, {score.system}"},
        "dataset": {
            "name": f"{card.test_set}, {english_name(score.lang)}",
            "type": card.test_set.lower().replace(" ", "-"),
            "config": score.lang,
            "split": "test",
            "args": arguments,
        },
        "metrics": [{key: value for key, value in metric.items() if value != {}} for metric in metrics],
    }


def _title(card: Card) -> Iterator[str]:
    yield f"# {card.name}"
    yield ""
    names = ", ".join(english_name(lang) for lang in card.written.langs) or "languages that it does not name"
    yield f"Speech to text in {names}: {_architecture(card)}."
    for note in card.written.notes:
        yield f"- {note[0].upper()}{note[1:]}."


def _architecture(card: Card) -> str:
    encoder, heads = card.model["encoder"], [name for name in card.written.systems if name != "llm"]
    shape = f"{encoder['num_layers']} x {encoder['hidden_size']}"
    parts = f"a {encoder['name']} encoder of {shape} with the heads {', '.join(heads)}"
    if len(heads) == 1:
        parts = f"a {encoder['name']} encoder of {shape} with a {heads[0]} head"
    if "llm" in card.written.systems:
        parts += ", a projector and a decoder LLM"
    return f"{parts}, {card.model['frontend'].get('sampling_rate', 16000)} samples a second"


def _use(card: Card) -> Iterator[str]:
    layout, langs = card.written.layout, card.written.langs
    lang = "hi" if "hi" in langs else next(iter(langs), "")
    yield "## Use"
    yield ""
    yield f"```bash\n{INSTALL[layout]}\n```"
    yield ""
    yield f"```python\n{snippet(layout, lang, card.model['frontend'])}\n```"


def _languages(card: Card) -> Iterator[str]:
    yield "## Languages and training speech"
    yield ""
    rows = {row.lang: row for row in card.speech.languages}
    if rows:
        yield "| language | code | hours | segments | corpora |"
        yield "| --- | --- | ---: | ---: | --- |"
        for lang in dict.fromkeys([*card.written.langs, *rows]):
            if lang in rows and (not card.written.langs or lang in card.written.langs):
                row = rows[lang]
                corpora = ", ".join(row.corpora)
                hours = _hours(row.hours)
                yield f"| {english_name(lang)} | {lang} | {hours} | {row.segments:,} | {corpora} |"
        yield ""
        yield f"{_hours(card.speech.hours)} hours in all were there to learn from, each counted once."
    else:
        for lang in card.written.langs:
            yield f"- {english_name(lang)} ({lang})"
    if card.speech.note:
        yield ""
        yield card.speech.note


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2f}"


def _scores(card: Card) -> Iterator[str]:
    yield "## Scores"
    yield ""
    if not card.scores:
        yield "None were given: `maya-train export --scores FILE` takes those of `maya-eval score --json`."
        return
    yield f"On: {card.test_set}. Rates in percent, with 95 % intervals."
    for system, profile in dict.fromkeys((score.system, score.profile) for score in card.scores):
        rows = [score for score in card.scores if (score.system, score.profile) == (system, profile)]
        yield ""
        yield from _table(system, profile, rows)


def _table(system: str, profile: str, rows: Sequence[Score]) -> Iterator[str]:
    version = rows[0].version
    told = f"`{profile}`{f' version {version}' if version else ''}"
    meaning = f" ({PROFILES[profile].description})" if profile in PROFILES else ""
    yield f"**{system}**, scored by the profile {told}{meaning}:"
    yield ""
    yield "| language | utterances | words | WER | 95 % interval of the WER | CER |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        bounds = "" if row.interval is None else " to ".join(str(_percent(x)) for x in row.interval)
        bounds += f", over {row.over}s" if bounds and row.over else ""
        rates = f"{_percent(row.wer)} | {bounds} | {_percent(row.cer)}"
        yield f"| {english_name(row.lang)} | {row.utterances:,} | {row.words:,} | {rates} |"
    if len(rows) > 1:
        wer, cer = (
            _percent(sum(values) / len(rows)) for values in zip(*((r.wer, r.cer) for r in rows), strict=True)
        )
        yield f"| plain mean of {len(rows)} languages | | | {wer} | | {cer} |"


def _limits(card: Card) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield from (f"- {sentence}" for sentence in limits(card.written, card.speech, card.scores))


def _licence(card: Card) -> Iterator[str]:
    licence = card.licence
    yield "## Licence"
    yield ""
    if licence.gemma:
        yield f"- LLM inside: made from Google's Gemma, under the [Gemma Terms of Use]({GEMMA_TERMS})."
        yield f"  Who uses it must accept them and the [Prohibited Use Policy]({GEMMA_POLICY})."
        yield "  Who passes it on must hand over a copy of the terms and the file NOTICE, and say that the"
        yield "  files were modified; they were: Gemma was trained further here, or packed in another way."
    elif licence.llm is not None:
        yield f"- LLM inside: a pretrained {licence.llm}, whose own licence goes on to hold for it."
    yours = "encoder, projector and heads" if licence.llm else "this model"
    if licence.chosen is None:
        yield f"- **To be decided before this is published**: the licence of {yours}. Nobody has named one;"
        yield "  `maya-train export --license apache-2.0` (or another identifier) does."
    else:
        yield f"- Licence of {yours}: {licence.chosen}."
    corpora = ", ".join(card.speech.corpora)
    yield f"- Training speech: {corpora or 'not known here'}. Check that its terms allow what you plan."
    if started := card.made_by.get("started from"):
        yield f"- Training started from {started}, whose licence goes on to hold."


def _origin(card: Card) -> Iterator[str]:
    yield "## Origin"
    yield ""
    yield "Exported by `maya-train export`; this card was generated from the run's own files."
    yield ""
    millions = card.model["parameters"]["all"] / 1e6
    yield f"- parameters of the acoustic model and projector: {millions:.1f} M"
    yield from (f"- {key}: {value}" for key, value in card.made_by.items())


def _percent(fraction: float) -> float:
    return round(100 * fraction, 2)
