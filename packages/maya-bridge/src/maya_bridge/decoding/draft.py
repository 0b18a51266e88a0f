"""A draft of an utterance as the tokens that an LLM is asked to confirm next."""

from collections.abc import Sequence

from maya_bridge.decoding.resync import Resync
from maya_bridge.text_side import LLMTokenizer
from maya_encoder.script import fold

INCOMPLETE = "\ufffd"  # what bytes that are no whole character yet decode to
MAX_TRIED = 8


class Draft:
    """The draft of one utterance; it follows what the LLM writes and proposes how that goes on."""

    def __init__(self, text: str, lang: str, tokenizer: LLMTokenizer, max_words: int):
        """Read a draft.

        Args:
            text: of the CTC head.
            lang: its language.
            tokenizer: of the LLM.
            max_words: words of the draft that can matter; a text has no more words than tokens.
        """
        words = text.split()[:max_words]
        self.lang = lang
        self.tokenizer = tokenizer
        self._raw = tokenizer.hf.backend_tokenizer.decode
        self._resync = Resync(" ".join(words))
        self.doubt = 0.0
        """What speaks against the last proposal: 0 is nothing, 1 a word that the draft lacks."""
        self._start = 0  # where the ids of the word begin that may still grow

    def propose(self, ids: Sequence[int]) -> list[int] | None:
        """Return the ids that may follow `ids`, all that the LLM has written; None where there is no idea."""
        if not ids:
            return self.tokenizer.encode(" ".join(self._resync.words), self.lang)
        self._start = self._word_start(ids)
        self._resync.read(self.tokenizer.decode(ids[: self._start], self.lang).split())
        growing = list(ids[self._start :])
        text = self.tokenizer.decode(growing, self.lang)
        begun = text.rstrip(INCOMPLETE)
        rests = self._resync.ranked(begun)
        # An LLM writes a word in the tokens that its tokenizer has for it, so a rest that would have made
        # other tokens of what is there already is not what it is about to write.
        for rest, self.doubt in rests[:MAX_TRIED]:
            candidate = self.tokenizer.encode(begun + rest, self.lang)
            if candidate[: len(growing)] == growing:
                return candidate[len(growing) :]
        rest, self.doubt = rests[0]
        return self._piece(rest) if begun == text else None

    def _word_start(self, ids: Sequence[int]) -> int:
        """Return where the last word begins: the last token that opens with a space."""
        for start in range(len(ids) - 1, self._start, -1):
            if self._raw(list(ids[start:])).startswith(" "):
                return start
        return self._start

    def _piece(self, rest: str) -> list[int]:
        """The ids of something that does not begin with a new word's space."""
        return self.tokenizer.encode_piece(fold(rest) if self.tokenizer.script == "common" else rest)
