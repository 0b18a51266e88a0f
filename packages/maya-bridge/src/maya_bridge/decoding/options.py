"""How text is searched for, and what is held against a result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from maya_bridge.projectors import check_positive

if TYPE_CHECKING:
    from maya_bridge.text_side import LLMTokenizer

TOKENS_PER_SECOND = {
    "as": 12.0,
    "bn": 9.0,
    "en": 8.0,
    "gu": 12.0,
    "hi": 9.0,
    "kn": 16.0,
    "ml": 18.0,
    "mr": 10.0,
    "or": 20.0,
    "pa": 14.0,
    "ta": 12.0,
    "te": 16.0,
}
"""Tokens of Gemma's tokenizer that the fastest speakers of a language reach."""
CHARACTERS_PER_SECOND = 25.0
"""The same for a tokenizer whose tokens are hardly more than characters."""
SMALL_VOCABULARY = 4096
EXTRA_TOKENS = 16

Strategy = Literal["greedy", "beam", "speculative"]


@dataclass(kw_only=True)
class SpeculativeOptions:
    """How a CTC draft is verified."""

    mode: Literal["exact", "relaxed", "gate"] = "exact"
    """exact: the greedy text. relaxed: near-best draft tokens pass. gate: a sure draft passes unverified."""
    top_k: int = 3
    """relaxed: a draft token must be among this many best ones."""
    max_gap: float = 0.5
    """relaxed: and at most this much less probable than the best one (natural logarithm)."""
    max_entropy: float = 0.05
    """gate: mean entropy of the CTC frames, in nats, up to which the draft is taken as it is."""
    lang_max_entropies: Mapping[str, float] = field(default_factory=dict)
    """`max_entropy` of single languages."""

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("exact", "relaxed", "gate"))
        check_positive(top_k=self.top_k)
        own = {f"lang_max_entropies[{lang}]": value for lang, value in self.lang_max_entropies.items()}
        for key, value in {"max_gap": self.max_gap, "max_entropy": self.max_entropy, **own}.items():
            if not value >= 0:
                raise ValueError(f"`{key}` must be 0 or more, got {value}")

    def entropy_limit(self, lang: str) -> float:
        """Return the entropy up to which a draft of a language is taken as it is."""
        return self.lang_max_entropies.get(lang, self.max_entropy)


@dataclass(kw_only=True)
class DecodeOptions:
    """Settings of `decode`."""

    strategy: Strategy = "greedy"
    """greedy, beam, or speculative: greedy's text from a draft of the CTC head in fewer passes."""
    beam_size: int = 4
    """beam: texts that are kept."""
    ctc_weight: float = 0.3
    """beam: share of the CTC score in the n-best's joint score, the LLM has the rest."""
    max_tokens_per_second: Mapping[str, float] = field(default_factory=dict)
    """Tokens a second, by language, that end a text; others keep TOKENS_PER_SECOND. 16 are always added."""
    silence: bool = True
    """A CTC path of blanks alone is an empty text, without the LLM."""
    loop_guard: bool = True
    """Stop where words repeat that the CTC text does not repeat, and take the CTC text."""
    hallucination: Literal["off", "check", "fallback"] = "fallback"
    """check: mark a text that has little to do with the CTC text. fallback: take the CTC text instead."""
    cer_threshold: float = 0.7
    """Character error rate against the CTC text from which a text counts as hallucinated."""
    lang_cer_thresholds: Mapping[str, float] = field(default_factory=dict)
    """`cer_threshold` of single languages."""
    min_mean_log_prob: float = -4.0
    """Mean log-probability of a token below which a text counts as hallucinated."""
    script: Literal["any", "native"] = "any"
    """native: tokens outside the language's script, ASCII and punctuation are never written."""
    hotwords: Sequence[str] = ()
    """Names and terms that may be said; the few that the CTC text resembles go into the prompt."""
    max_hotwords: int = 50
    """Hotwords in one prompt."""
    speculative: SpeculativeOptions = field(default_factory=SpeculativeOptions)
    """How a draft is verified."""
    words: bool = True
    """Find where each word is in the audio."""

    def __post_init__(self) -> None:
        check_choice("strategy", self.strategy, ("greedy", "beam", "speculative"))
        check_choice("hallucination", self.hallucination, ("off", "check", "fallback"))
        check_choice("script", self.script, ("any", "native"))
        check_positive(beam_size=self.beam_size, max_hotwords=self.max_hotwords)
        if not 0 <= self.ctc_weight <= 1:
            raise ValueError(f"`ctc_weight` must be from 0 to 1, got {self.ctc_weight}")
        rates = {f"max_tokens_per_second[{k}]": v for k, v in self.max_tokens_per_second.items()}
        limits = {f"lang_cer_thresholds[{k}]": v for k, v in self.lang_cer_thresholds.items()}
        for key, value in {**rates, **limits, "cer_threshold": self.cer_threshold}.items():
            if not value > 0:
                raise ValueError(f"`{key}` must be above 0, got {value}")
        if isinstance(self.hotwords, str):
            raise ValueError(f"`hotwords` must be a list of words, got the string {self.hotwords!r}")
        self.hotwords = tuple(self.hotwords)
        if isinstance(self.speculative, Mapping):
            self.speculative = SpeculativeOptions(**self.speculative)

    def max_tokens(self, seconds: float, lang: str, tokenizer: "LLMTokenizer", draft_tokens: int = 0) -> int:
        """Return how many tokens a text of so much audio may have.

        Args:
            seconds: of audio.
            lang: language.
            tokenizer: of the LLM; one of few tokens writes more of them a second.
            draft_tokens: length of the CTC text; the text may be half as long again, whatever the table says.
        """
        small = len(tokenizer.text_ids) < SMALL_VOCABULARY
        rate = CHARACTERS_PER_SECOND if small else TOKENS_PER_SECOND.get(lang, CHARACTERS_PER_SECOND)
        rate = self.max_tokens_per_second.get(lang, rate)
        expected = (
            seconds * rate if lang in self.max_tokens_per_second else max(seconds * rate, 1.5 * draft_tokens)
        )
        return int(-(-expected // 1)) + EXTRA_TOKENS

    def threshold(self, lang: str) -> float:
        """Return the character error rate of hallucination for a language."""
        return self.lang_cer_thresholds.get(lang, self.cer_threshold)


def check_choice(key: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise a ValueError for a value that is none of `choices`."""
    if value not in choices:
        raise ValueError(f"`{key}` must be one of {', '.join(choices)}, got {value}")


def without_guards(strategy: Strategy = "greedy") -> DecodeOptions:
    """Return options under which a text is what the LLM writes and nothing else."""
    return DecodeOptions(strategy=strategy, silence=False, loop_guard=False, hallucination="off")
