"""Language models for beam search, from an ARPA file or, with the extra `lm`, from a KenLM binary.

Their units are the model's tokens or whole words. Tokens of an ARPA file become one `TokenAutomaton`;
whatever else there is walks a hypothesis at a time and remembers what it has been asked.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from maya_encoder.decoding.arpa import (
    BEGIN,
    END,
    NEVER,
    UNKNOWN,
    BadLanguageModel,
    History,
    NgramModel,
    read_arpa,
)
from maya_encoder.decoding.automaton import AutomatonParts, TokenAutomaton
from maya_encoder.decoding.fusion import Scorer
from maya_encoder.tokenizer import Tokenizer

Unit = Literal["auto", "token", "word"]

_SPACE = "\u2581"  # how SentencePiece marks the piece that begins a word
_KENLM_MAGIC = b"mmap lm http://kheafield.com/code"
_FIRST_CODE = 100  # NeMo writes token `i` of a model over tokens as the character with code i + 100
_MOSTLY = 0.9


class Ngrams(Protocol):
    """What a file holds, before anyone knows how its words relate to tokens."""

    @property
    def start(self) -> Hashable:
        """The history at the beginning of a text."""

    def step(self, history: Any, word: str) -> tuple[float, Hashable]:
        """Log-probability of `word` after `history`, natural, and the history then."""

    def end(self, history: Any) -> float:
        """Log-probability of the end of the text."""


def load_lm(path: str | Path, tokenizer: Tokenizer, lang: str | None = None, unit: Unit = "auto") -> Scorer:
    """The language model at `path`, for the option `lm`.

    Args:
        path: ARPA text, plain or gzip, or a KenLM binary (which needs the extra `lm`).
        tokenizer: the acoustic model's.
        lang: language of the texts; needed for words where the tokenizer's script is the common one.
        unit: what the model's words are: `token` (pieces as the tokenizer spells them, or NeMo's one
            character a token) or `word` (whole words in native script); `auto` looks at the vocabulary of an
            ARPA file, and takes a KenLM binary to be of words.

    Raises:
        BadLanguageModel: no such file, a damaged one, or one whose words are neither.
        ModuleNotFoundError: a KenLM binary without the extra `lm`; the message has the install line.
    """
    path = Path(path)
    if unit not in ("auto", "token", "word"):
        raise ValueError(f"`unit` must be auto, token or word, got {unit!r}")
    if _is_kenlm(path):
        kenlm = KenLM(path)
        if unit != "token":
            return WordScorer(kenlm, tokenizer, lang)
        return WalkingScorer(kenlm, _spelling(tokenizer, kenlm.knows).__getitem__)
    model = read_arpa(path)
    words = {word for word in model.words if word not in (BEGIN, END, UNKNOWN)}
    spelling = _spelling(tokenizer, words.__contains__)
    share = len(words.intersection(spelling)) / max(1, len(words))
    if unit == "word" or (unit == "auto" and share < _MOSTLY):
        return WordScorer(model, tokenizer, lang)
    if not share:
        raise BadLanguageModel(
            f"{path} knows no token of this tokenizer; its first word is {min(words, default='')!r}"
        )
    return token_automaton(model, spelling)


def token_automaton(model: NgramModel, spelling: Sequence[str]) -> TokenAutomaton:
    """An n-gram model over tokens as an automaton.

    Args:
        model: the n-grams.
        spelling: the model's word for each token id; several ids may share one.
    """
    ids: dict[str, list[int]] = {}
    for index, word in enumerate(spelling):
        ids.setdefault(word if (word,) in model.log_probs else UNKNOWN, []).append(index)
    histories: list[History] = [(), *sorted((n for n in model.log_probs if len(n) < model.order), key=len)]
    states = {history: state for state, history in enumerate(histories)}
    arcs = {
        (states[ngram[:-1]], token): (states[model.suffix(ngram)], log_prob)
        for ngram, log_prob in model.log_probs.items()
        if ngram[:-1] in states
        for token in ids.get(ngram[-1], ())
    }
    fallbacks = [(0, 0.0)] + [
        (states[model.suffix(history[1:])], model.backoffs.get(history, 0.0)) for history in histories[1:]
    ]
    parts = AutomatonParts(
        arcs=arcs,
        fallbacks=fallbacks,
        finals=[model.end(history) for history in histories],
        unknown=NEVER,
        start=states[model.start],
        num_tokens=len(spelling),
    )
    return TokenAutomaton(parts)


class WalkingScorer:
    """A language model that is asked about one token after the other; states are numbered as they turn up.

    Args:
        model: the n-grams.
        spelling: the model's word for a token.
    """

    def __init__(self, model: Ngrams, spelling: Callable[[int], str]) -> None:
        self.model = model
        self.spelling = spelling
        self._known: list[Any] = []
        self._numbers: dict[Hashable, int] = {}
        self._answers: dict[tuple[int, int], tuple[float, int]] = {}
        self.start = self._number(self._first())

    def step(self, states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, K) and next states (N, K) of `states` (N,) after each of `tokens` (N, K)."""
        rows = zip(states.tolist(), tokens.tolist(), strict=True)
        found = [[self._answer(state, token) for token in row] for state, row in rows]
        scores = [[score for score, _ in row] for row in found]
        after = [[state for _, state in row] for row in found]
        device = states.device
        return torch.tensor(scores, device=device).view(tokens.shape), torch.tensor(
            after, dtype=torch.int64, device=device
        ).view(tokens.shape)

    def final(self, states: Tensor) -> Tensor:
        """What the end of the text scores at `states` (N,)."""
        ends = [self._end(self._known[state]) for state in states.tolist()]
        return torch.tensor(ends, dtype=torch.float32, device=states.device)

    def _answer(self, state: int, token: int) -> tuple[float, int]:
        if (state, token) not in self._answers:
            score, after = self._walk(self._known[state], token)
            self._answers[state, token] = score, self._number(after)
        return self._answers[state, token]

    def _number(self, known: Hashable) -> int:
        if known not in self._numbers:
            self._numbers[known] = len(self._known)
            self._known.append(known)
        return self._numbers[known]

    def _first(self) -> Hashable:
        return self.model.start

    def _walk(self, known: Any, token: int) -> tuple[float, Hashable]:
        return self.model.step(known, self.spelling(token))

    def _end(self, known: Any) -> float:
        return self.model.end(known)


class WordScorer(WalkingScorer):
    """A language model over whole words: a word is scored when the next one begins, or the text ends.

    Args:
        model: the n-grams, over words in native script.
        tokenizer: tells where words begin, and what they are.
        lang: language of the texts.
    """

    def __init__(self, model: Ngrams, tokenizer: Tokenizer, lang: str | None = None) -> None:
        self.tokenizer, self.lang = tokenizer, lang
        super().__init__(model, tokenizer.piece)

    def _first(self) -> Hashable:
        return self.model.start, ()

    def _walk(self, known: Any, token: int) -> tuple[float, Hashable]:
        history, pieces = known
        if not self.spelling(token).startswith(_SPACE):
            return 0.0, (history, (*pieces, token))
        score, history = self._close(history, pieces)
        return score, (history, (token,))

    def _end(self, known: Any) -> float:
        score, history = self._close(*known)
        return score + self.model.end(history)

    def _close(self, history: Hashable, pieces: tuple[int, ...]) -> tuple[float, Hashable]:
        """Log-probability of the word that `pieces` are, and the history with it."""
        score = 0.0
        for word in self.tokenizer.decode(pieces, self.lang).split():
            step, history = self.model.step(history, word)
            score += step
        return score, history


class KenLM:
    """A KenLM binary, read by the package `kenlm`."""

    def __init__(self, path: Path) -> None:
        try:
            self._kenlm: Any = import_module("kenlm")
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"{path} is a KenLM binary, which needs the package kenlm: pip install 'maya-encoder[lm]'"
            ) from None
        try:
            self._model = self._kenlm.Model(str(path))
        except (OSError, RuntimeError) as error:
            raise BadLanguageModel(f"{path} is a damaged KenLM binary: {error}") from None

    @property
    def start(self) -> Hashable:
        """The history at the beginning of a text."""
        state: Hashable = self._kenlm.State()
        self._model.BeginSentenceWrite(state)
        return state

    def step(self, history: Any, word: str) -> tuple[float, Hashable]:
        """Log-probability of `word` after `history`, natural, and the history then."""
        state = self._kenlm.State()
        return self._model.BaseScore(history, word, state) * math.log(10), state

    def end(self, history: Any) -> float:
        """Log-probability of the end of the text."""
        return self.step(history, END)[0]

    def knows(self, word: str) -> bool:
        """Whether `word` is in the vocabulary."""
        return word in self._model


def _is_kenlm(path: Path) -> bool:
    if not path.is_file():
        raise BadLanguageModel(f"no such language model: {path}")
    with path.open("rb") as file:
        return file.read(len(_KENLM_MAGIC)) == _KENLM_MAGIC


def _spelling(tokenizer: Tokenizer, knows: Callable[[str], bool]) -> list[str]:
    """How the language model writes each token: as a piece, or as NeMo's single character."""
    pieces = [tokenizer.piece(index) for index in range(tokenizer.vocab_size)]
    coded = [chr(index + _FIRST_CODE) for index in range(tokenizer.vocab_size)]
    return max(pieces, coded, key=lambda spelling: sum(map(knows, spelling)))
