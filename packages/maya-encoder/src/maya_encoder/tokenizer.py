"""Text to token ids and back: one SentencePiece model for all languages, or one a language.

Several models lie one after the other in the id space, as in NeMo's aggregate tokenizer and in the
multilingual one of its AI4Bharat fork, which counts ids within a language. A model of the common script folds
inside its own rule table, so only unfolding is code. The blank of the heads is the id after the last piece.
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import sentencepiece
from omegaconf import DictConfig, OmegaConf

from maya_encoder.script import unfold

_NAME = re.compile(r"\w[\w.-]*")  # names become file names
_SPACE = "\u2581"  # how SentencePiece writes the space before a word


class BadTokenizer(ValueError):
    """A tokenizer that cannot be used; the message names it."""


class Tokenizer:
    """One model, or several that are each named after their language.

    Args:
        models: files, whose stems are the names; or serialised models by name, in the order of their ids.
        script: `native`, or `common` where all Indic scripts are folded onto Devanagari.
        text: text profile of the texts that the models were trained on.
        unknown: `drop` unknown pieces from text, or `mark` them as SentencePiece and NeMo do, with U+2047.
    """

    def __init__(
        self,
        models: Sequence[Path] | Mapping[str, bytes],
        script: str = "native",
        text: str = "asr-v1",
        unknown: str = "drop",
    ) -> None:
        if script not in ("native", "common"):
            raise BadTokenizer(f"`script` must be native or common, got {script!r}")
        if unknown not in ("drop", "mark"):
            raise BadTokenizer(f"`unknown` must be drop or mark, got {unknown!r}")
        if not models:
            raise BadTokenizer("a tokenizer needs one SentencePiece model or more, got none")
        named = _read(models)
        self.names = list(named)
        self.script = script
        self.text = text
        self.unknown = unknown
        self._protos = list(named.values())
        self._models = [_processor(name, proto) for name, proto in named.items()]
        self._offsets = [sum(m.vocab_size() for m in self._models[:k]) for k in range(len(self._models))]

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        """The tokenizer of a folder with `tokenizer.yaml` and its models."""
        path = Path(folder) / "tokenizer.yaml"
        if not path.is_file():
            raise BadTokenizer(f"{folder} is no tokenizer folder: tokenizer.yaml is missing")
        config = OmegaConf.load(path)
        if not isinstance(config, DictConfig) or "models" not in config:
            raise BadTokenizer(f"{path} does not list its `models`")
        files = [Path(folder) / f"{name}.model" for name in config.models]
        if missing := [file.name for file in files if not file.is_file()]:
            raise BadTokenizer(f"{folder} is no tokenizer folder: {', '.join(missing)} is missing")
        tokenizer = cls(files, **{key: config[key] for key in ("script", "text", "unknown") if key in config})
        if config.get("sha256", tokenizer.sha256) != tokenizer.sha256:
            raise BadTokenizer(f"the models in {folder} are not those that {path.name} was written for")
        return tokenizer

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.yaml` and the models into `folder`, which is made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, proto in zip(self.names, self._protos, strict=True):
            (folder / f"{name}.model").write_bytes(proto)
        config = {
            "models": self.names,
            "script": self.script,
            "text": self.text,
            "unknown": self.unknown,
            "vocab_size": self.vocab_size,
            "sha256": self.sha256,
        }
        OmegaConf.save(OmegaConf.create(config), folder / "tokenizer.yaml")

    @property
    def vocab_size(self) -> int:
        """Number of pieces, without the blank."""
        return self._offsets[-1] + int(self._models[-1].vocab_size())

    @property
    def blank_id(self) -> int:
        """The id that the heads give to the blank."""
        return self.vocab_size

    @property
    def models(self) -> dict[str, bytes]:
        """The serialised models by name, in the order of their ids."""
        return dict(zip(self.names, self._protos, strict=True))

    @property
    def sha256(self) -> str:
        """Digest over the model files, in order."""
        return hashlib.sha256(b"".join(self._protos)).hexdigest()

    def lang_vocab(self, langs: Sequence[str] | None = None) -> dict[str, list[int]]:
        """The ids that each language may write.

        Args:
            langs: which languages, in which order; by default those that the models are named after, none
                where one model serves all.

        Returns:
            Language to its ids, ascending, without the blank.

        Raises:
            BadTokenizer: there is no model for one of `langs`.
        """
        several = self.names if len(self._models) > 1 else []
        found = {}
        for lang in several if langs is None else langs:
            k = self._model_of(lang)
            found[lang] = list(range(self._offsets[k], self._offsets[k] + self._models[k].vocab_size()))
        return found

    def encode(self, text: str, lang: str | None = None) -> list[int]:
        """Token ids of `text`, which has gone through the text profile already.

        Args:
            text: what to encode.
            lang: its language; needed where each language has a model.
        """
        k = self._model_of(lang)
        return [self._offsets[k] + piece for piece in self._models[k].encode(text)]

    def decode(self, ids: Sequence[int], lang: str | None = None) -> str:
        """Text of `ids`, without control pieces.

        Args:
            ids: token ids, of one language's model or of several, without blanks.
            lang: language whose native script a model of the common script writes; else of no effect.
        """
        self._check(ids)
        text = ""
        for k, run in groupby(ids, self._owner):
            pieces = [i - self._offsets[k] for i in run]
            text = self._append(text, k, pieces)
        return self._native(text, lang)

    def piece(self, index: int) -> str:
        """The piece with id `index`, in the model's own script."""
        self._check([index])
        k = self._owner(index)
        return str(self._models[k].id_to_piece(index - self._offsets[k]))

    def round_trips(self, text: str, lang: str | None = None) -> bool:
        """Whether decoding gives `text` again, so that a model can write it."""
        return self.decode(self.encode(text, lang), lang) == text

    def _append(self, text: str, k: int, pieces: list[int]) -> str:
        """`text` and what model `k` reads in `pieces`: it keeps no space before a first word, `text` does."""
        model = self._models[k]
        drop = self.unknown == "drop"
        known = [i for i in pieces if not (model.is_control(i) or (drop and model.is_unknown(i)))]
        space = " " if text and known and model.id_to_piece(known[0]).startswith(_SPACE) else ""
        return text + space + str(model.decode(known))

    def _native(self, text: str, lang: str | None) -> str:
        if self.script == "native":
            return text
        if lang is None:
            raise BadTokenizer("`lang` must be given: the common script is unfolded into that of a language")
        return unfold(text, lang)

    def _model_of(self, lang: str | None) -> int:
        if len(self._models) == 1:
            return 0
        if lang is None:
            raise BadTokenizer(f"`lang` must be given: there is a model for each of {', '.join(self.names)}")
        if lang not in self.names:
            raise BadTokenizer(
                f"no tokenizer model for language {lang!r}; there are: {', '.join(self.names)}"
            )
        return self.names.index(lang)

    def _owner(self, index: int) -> int:
        return bisect_right(self._offsets, index) - 1

    def _check(self, ids: Sequence[int]) -> None:
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise ValueError(f"token ids must be below {self.vocab_size}, the number of pieces, got {i}")


def _read(models: Sequence[Path] | Mapping[str, bytes]) -> dict[str, bytes]:
    pairs = (
        list(models.items())
        if isinstance(models, Mapping)
        else [(Path(path).stem, Path(path).read_bytes()) for path in models]
    )
    for name, _ in pairs:
        if not _NAME.fullmatch(name):
            wanted = "letters, digits, '_', '-' and '.'"
            raise BadTokenizer(f"a tokenizer model's name must be of {wanted}, got {name!r}")
    if len(named := dict(pairs)) < len(pairs):
        raise BadTokenizer(
            f"tokenizer models must have different names, got {', '.join(name for name, _ in pairs)}"
        )
    return named


def _processor(name: str, proto: bytes) -> sentencepiece.SentencePieceProcessor:
    model = None
    if proto:  # of no bytes, SentencePiece makes a model that answers with complaints
        with suppress(RuntimeError):
            model = sentencepiece.SentencePieceProcessor(model_proto=proto)
    if model is None or not model.vocab_size():
        raise BadTokenizer(f"the tokenizer model {name!r} is damaged or no SentencePiece model")
    return model
