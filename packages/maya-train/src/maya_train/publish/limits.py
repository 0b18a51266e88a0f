"""What a model is not good for, as far as its data and scores tell."""

from collections.abc import Iterator, Sequence

from maya_eval.languages import english_name
from maya_train.publish.formats import Written
from maya_train.publish.scores import Score
from maya_train.publish.training_data import TrainingSpeech

FEW_HOURS = 10.0
FEW_WORDS = 1_000
SYNTHETIC = ("espeak",)
"""Corpora that `maya-data synth` makes."""


def limits(written: Written, speech: TrainingSpeech, scores: Sequence[Score]) -> list[str]:
    """One sentence each, the most important first."""
    return [*_of_data(written, speech), *_of_scores(written, scores), *_of_layout(written)]


def _of_data(written: Written, speech: TrainingSpeech) -> Iterator[str]:
    if speech.corpora and set(speech.corpora) <= set(SYNTHETIC):
        yield "It has heard synthetic speech alone; do not expect it to understand people."
    heard = {row.lang: row.hours for row in speech.languages}
    if few := [lang for lang in written.langs if lang in heard and heard[lang] < FEW_HOURS]:
        yield f"Less than {FEW_HOURS:g} hours of training speech: {_names(few)}."
    if heard and (none := [lang for lang in written.langs if lang not in heard]):
        yield f"No training speech in the index at all: {_names(none)}."
    if speech.longest:
        yield (
            f"It was trained on segments of up to {speech.longest:.0f} seconds; longer audio has to be heard"
            " in pieces."
        )


def _of_scores(written: Written, scores: Sequence[Score]) -> Iterator[str]:
    if not scores:
        yield "No scores were given, so nothing is known here of how often it is wrong."
        return
    scored = {score.lang for score in scores}
    if none := [lang for lang in written.langs if lang not in scored]:
        yield f"Not scored, so unknown: {_names(none)}."
    if few := sorted({score.lang for score in scores if score.words < FEW_WORDS}):
        yield f"Scored on fewer than {FEW_WORDS:,} words, so the intervals are wide: {_names(few)}."
    worst = max(scores, key=lambda score: score.wer)
    where = f"{english_name(worst.lang)}, {worst.system}"
    yield f"The highest word error rate above is {100 * worst.wer:.1f} % ({where})."
    if not all(score.interval for score in scores):
        yield "Rates without an interval come from files that give none."


def _of_layout(written: Written) -> Iterator[str]:
    yield "It transcribes; it does not translate, name speakers or tell speech from other sound."
    if written.layout == "speech_llm":
        yield (
            "An LLM writes the text, and may write fluently what was not said; the acoustic heads"
            ' (`decode="ctc"` and such) do not.'
        )
    if written.layout == "onnx-asr":
        yield "onnx-asr drops a space before a sign that is no letter or digit; our own text keeps it."


def _names(langs: Sequence[str]) -> str:
    return ", ".join(english_name(lang) for lang in langs)
