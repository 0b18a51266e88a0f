"""Text to token ids and back: one SentencePiece model for all languages, or one a language.

A model of the common script folds inside its own rule table, so only unfolding is code. The blank of the
heads is the id after the last piece.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import sentencepiece
from omegaconf import DictConfig, OmegaConf

from maya_encoder.script import unfold


class BadTokenizer(ValueError):
    """A tokenizer folder that cannot be used; the message names it."""


class Tokenizer:
    """Several models lie one after the other in the id space; each is then named after its language."""

    def __init__(self, models: Sequence[Path], script: str = "native", text: str = "asr-v1") -> None:
        if script not in ("native", "common"):
            raise BadTokenizer(f"`script` must be native or common, got {script!r}")
        if not models:
            raise BadTokenizer("a tokenizer needs one SentencePiece model or more, got none")
        self.names = [Path(path).stem for path in models]
        self.script = script
        self.text = text
        self._protos = [Path(path).read_bytes() for path in models]
        self._models = [sentencepiece.SentencePieceProcessor(model_proto=proto) for proto in self._protos]
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
        tokenizer = cls(files, script=config.get("script", "native"), text=config.get("text", "asr-v1"))
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
    def sha256(self) -> str:
        """Digest over the model files, in order."""
        return hashlib.sha256(b"".join(self._protos)).hexdigest()

    def encode(self, text: str, lang: str) -> list[int]:
        """Token ids of `text`, which has gone through the text profile already."""
        k = self._model_of(lang)
        return [self._offsets[k] + piece for piece in self._models[k].encode(text)]

    def decode(self, ids: Sequence[int], lang: str) -> str:
        """Text of `ids` in the native script of `lang`; unknown pieces are dropped."""
        k = self._model_of(lang)
        model, first = self._models[k], self._offsets[k]
        self._check(ids)
        inside = [i - first for i in ids if 0 <= i - first < model.vocab_size()]
        text = model.decode([i for i in inside if not (model.is_unknown(i) or model.is_control(i))])
        return unfold(text, lang) if self.script == "common" else text

    def piece(self, index: int) -> str:
        """The piece with id `index`, in the model's own script."""
        self._check([index])
        k = max(k for k, first in enumerate(self._offsets) if first <= index)
        return str(self._models[k].id_to_piece(index - self._offsets[k]))

    def round_trips(self, text: str, lang: str) -> bool:
        """Whether decoding gives `text` again, so that a model can write it."""
        return self.decode(self.encode(text, lang), lang) == text

    def _model_of(self, lang: str) -> int:
        if len(self._models) == 1:
            return 0
        if lang not in self.names:
            raise BadTokenizer(
                f"no tokenizer model for language {lang!r}; there are: {', '.join(self.names)}"
            )
        return self.names.index(lang)

    def _check(self, ids: Sequence[int]) -> None:
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise ValueError(f"token ids must be below {self.vocab_size}, the number of pieces, got {i}")
