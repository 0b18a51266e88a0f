"""Keywords of `transcribe` that say how to search and how to cut long audio, checked and ready for use."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from maya_encoder.decoding import DecodingOptions, load_lm
from maya_encoder.decoding.boosting import boost_tokens
from maya_encoder.decoding.fusion import Scorer

if TYPE_CHECKING:
    from maya_encoder.tokenizer import Tokenizer

DEFAULT_BEAM = 4
DEFAULT_OVERLAP = 4.0
"""Seconds; at most a quarter of a chunk."""
_UNKNOWN = "<unk>"


class Options(TypedDict, total=False):
    """Further keywords of `AcousticModel.transcribe`; each may be left out."""

    beam: int
    """Sequences that the search keeps: 1, the default, is greedy; 4 with a language model or phrases."""
    lm: str | Path | Scorer
    """Language model: an ARPA file, a KenLM binary, or what `decoding.load_lm` gave."""
    lm_weight: float
    """What its log-probabilities are multiplied by; see `DecodingOptions`."""
    phrases: Sequence[str] | Mapping[str, float]
    """Names and terms to prefer, in native script; or each with its own bonus."""
    phrase_bonus: float
    """Natural logarithm added for each token of a phrase; 1, the default, is much already."""
    decoding: DecodingOptions
    """All settings of the search, in place of the five before."""
    chunk_duration: float
    """Seconds; longer audio is heard in pieces of about this length. Without, in one."""
    overlap: float
    """Seconds that neighbouring pieces share, up to half of one; by default 4, and at most a quarter."""
    attention_context: tuple[int, int]
    """Frames that a frame attends to on its left and right; without, as the encoder was built."""


@dataclass(frozen=True)
class Settings:
    """What became of the options."""

    decoding: DecodingOptions
    chunk_duration: float | None
    overlap: float
    attention_context: tuple[int, int] | None


def settings_of(options: Options, tokenizer: "Tokenizer", langs: Sequence[str] | None) -> Settings:
    """Check the options and load what they name.

    Args:
        options: as given to `transcribe`.
        tokenizer: the model's.
        langs: languages of the utterances, or None.

    Raises:
        TypeError: an option that there is not.
        ValueError: values that are out of range, exclude each other or have no effect.
    """
    known = Options.__annotations__
    if unknown := [name for name in options if name not in known]:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"there are: {', '.join(known)}"
        raise TypeError(f"`transcribe` has no keyword `{unknown[0]}`; {hint}")
    chunk, overlap = _chunking(options)
    context = options.get("attention_context")
    if context is not None and (len(context) != 2 or min(context) < 0):
        raise ValueError(f"`attention_context` must be frames to the left and to the right, got {context}")
    decoding = _decoding(options, tokenizer, sorted(set(langs or ())))
    return Settings(decoding, chunk, overlap, None if context is None else (context[0], context[1]))


def _chunking(options: Options) -> tuple[float | None, float]:
    chunk, overlap = options.get("chunk_duration"), options.get("overlap")
    if chunk is None:
        if overlap is not None:
            raise ValueError(f"`overlap` needs a `chunk_duration`, got {overlap} without one")
        return None, 0.0
    if not 0 < chunk < float("inf"):
        raise ValueError(f"`chunk_duration` must be seconds above 0, got {chunk}")
    if overlap is None:
        overlap = min(DEFAULT_OVERLAP, chunk / 4)
    if not 0 <= overlap <= chunk / 2:
        raise ValueError(f"`overlap` must be from 0 to half of `chunk_duration` {chunk}, got {overlap}")
    return chunk, overlap


def _decoding(options: Options, tokenizer: "Tokenizer", langs: Sequence[str]) -> DecodingOptions:
    beam, lm, phrases = options.get("beam"), options.get("lm"), options.get("phrases")
    for name, needed in (("lm_weight", "lm"), ("phrase_bonus", "phrases")):
        if name in options and not options.get(needed):
            raise ValueError(f"`{name}` has no effect without `{needed}`")
    shortcuts = [name for name in ("beam", "lm", "phrases") if options.get(name)]
    if (whole := options.get("decoding")) is not None:
        if shortcuts:
            raise ValueError(f"`{shortcuts[0]}` must be a field of `decoding` where that is given")
        return whole
    if beam in (None, 1) and not (lm or phrases):
        return DecodingOptions()
    more: dict[str, Any] = {"lm_weight": options["lm_weight"]} if "lm_weight" in options else {}
    return DecodingOptions(
        strategy="beam",
        beam_size=DEFAULT_BEAM if beam is None else beam,
        lm=_language_model(lm, tokenizer, langs),
        boost=_boost(phrases, options.get("phrase_bonus", 1.0), tokenizer, langs),
        **more,
    )


def _language_model(lm: Any, tokenizer: "Tokenizer", langs: Sequence[str]) -> Scorer | None:
    if not isinstance(lm, str | Path):
        return lm  # type: ignore[no-any-return]
    return load_lm(lm, tokenizer, langs[0] if len(langs) == 1 else None)


def _boost(
    phrases: Sequence[str] | Mapping[str, float] | None,
    bonus: float,
    tokenizer: "Tokenizer",
    langs: Sequence[str],
) -> Scorer | None:
    """Each phrase in the tokens of every language that can write it."""
    if not phrases:
        return None
    if isinstance(phrases, str):
        raise ValueError(f"`phrases` must be a list of phrases, got the string {phrases!r}")
    bonuses = phrases if isinstance(phrases, Mapping) else dict.fromkeys(phrases, bonus)
    found: dict[tuple[int, ...], float] = {}
    for phrase, value in bonuses.items():
        spelled = {tuple(tokenizer.encode(phrase, lang)) for lang in langs or (None,)}
        written = [ids for ids in spelled if ids and _UNKNOWN not in map(tokenizer.piece, ids)]
        if not written:
            raise ValueError(f"`phrases` must be of characters that the model writes, got {phrase!r}")
        found |= dict.fromkeys(written, value)
    return boost_tokens(found, tokenizer.vocab_size)
