"""Train a SentencePiece model whose only normalisation is none, or the fold onto the common Indic script."""

import hashlib
import io
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import sentencepiece
from omegaconf import OmegaConf

from maya_data.script import fold, fold_rules, unfold
from maya_data.text import TextProfile, profile

MAX_SENTENCE_BYTES = 1 << 16


@dataclass
class TokenizerReport:
    """What training saw: the folder, the size, what was refused, and how long pieces are."""

    folder: Path
    vocab_size: int
    """Pieces without the blank; unknown is piece 0."""
    texts: Counter[str] = field(default_factory=Counter)
    """Language -> texts used."""
    refused: Counter[str] = field(default_factory=Counter)
    """Language -> texts whose round trip through the tokenizer is not exact."""
    examples: list[str] = field(default_factory=list)
    """The first few refused texts."""
    characters: Counter[str] = field(default_factory=Counter)
    """Language -> characters of the texts used."""
    pieces: Counter[str] = field(default_factory=Counter)
    """Language -> pieces of the texts used."""
    words: Counter[str] = field(default_factory=Counter)
    """Language -> words of the texts used."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Language -> characters of all texts that have no piece."""
    met: Counter[str] = field(default_factory=Counter)
    """Language -> characters of all texts."""

    def fertility(self, lang: str) -> float:
        """Return pieces a word of a language; 0 where no text is used."""
        return self.pieces[lang] / max(self.words[lang], 1)

    def coverage(self, lang: str) -> float:
        """Return the part of a language's characters that have a piece, 0 to 1."""
        return 1 - self.unknown[lang] / max(self.met[lang], 1)

    def refuse(self, text: str, lang: str) -> None:
        """Count a text that cannot be written back exactly."""
        self.refused[lang] += 1
        if len(self.examples) < 5 and f"{lang}: {text}" not in self.examples:
            self.examples.append(f"{lang}: {text}")


def train_tokenizer(  # noqa: PLR0913 - a tokenizer has these settings
    texts: Iterable[tuple[str, str]],
    out_dir: str | Path,
    *,
    name: str = "asr",
    vocab_size: int | None = None,
    model_type: Literal["unigram", "bpe", "char"] = "unigram",
    script: Literal["native", "common"] = "native",
    text_profile: str = "asr-v1",
    character_coverage: float = 1.0,
) -> TokenizerReport:
    """Train on `(text, lang)` pairs; write `<out_dir>/<name>.model` and `<out_dir>/tokenizer.yaml`.

    Args:
        texts: Raw texts; they are normalised by `text_profile` first.
        out_dir: Made where absent.
        name: Stem of the model file.
        vocab_size: Upper bound of the number of pieces; None takes 4000, or every character for `char`.
        model_type: Kind of SentencePiece model.
        script: `common` folds the parallel Indic blocks onto one inside the model.
        text_profile: Name of the profile; it is stored beside the model.
        character_coverage: Share of character occurrences that must have a piece.
    """
    _check(model_type, script, vocab_size)
    report = TokenizerReport(Path(out_dir), 0)
    kept = list(_acceptable(texts, profile(text_profile), script, report))
    if not kept:
        raise ValueError(f"no text to train the tokenizer on ({sum(report.refused.values())} texts refused)")
    options = {"vocab_size": vocab_size, "model_type": model_type, "character_coverage": character_coverage}
    model = _train((text for text, _ in kept), script, options)
    _measure(model, kept, script, report)
    if not report.texts:
        raise ValueError(f"`vocab_size` of {vocab_size} leaves no text that comes back exactly; raise it")
    _write(model, report, {"models": [name], "script": script, "text": text_profile})
    return report


def _check(model_type: str, script: str, vocab_size: int | None) -> None:
    if model_type not in ("unigram", "bpe", "char"):
        raise ValueError(f"`model_type` must be unigram, bpe or char, got {model_type!r}")
    if script not in ("native", "common"):
        raise ValueError(f"`script` must be native or common, got {script!r}")
    if vocab_size is not None and vocab_size < 2:
        raise ValueError(f"`vocab_size` must be 2 or more, got {vocab_size}")


def _acceptable(
    texts: Iterable[tuple[str, str]], spelling: TextProfile, script: str, report: TokenizerReport
) -> Iterator[tuple[str, str]]:
    for raw, lang in texts:
        text = spelling.normalize(raw, lang)
        if script == "common" and unfold(fold(text), lang) != text:
            report.refuse(text, lang)
        elif text:
            yield text, lang


def _train(texts: Iterator[str], script: str, options: dict[str, Any]) -> bytes:
    """Run SentencePiece and return the bytes of its model."""
    size = options.pop("vocab_size") or (1 << 16 if options["model_type"] == "char" else 4000)
    writer = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder, "fold.tsv")
        rules.write_text("".join(f"{ord(a):X}\t{ord(b):X}\n" for a, b in fold_rules().items()), "ascii")
        normalizer: dict[str, Any] = {"normalization_rule_tsv": str(rules)} if script == "common" else {}
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=texts,
                model_writer=writer,
                vocab_size=size,
                normalization_rule_name="identity",
                hard_vocab_limit=False,
                max_sentence_length=MAX_SENTENCE_BYTES,
                unk_id=0,
                bos_id=-1,
                eos_id=-1,
                pad_id=-1,
                num_threads=1,
                minloglevel=2,
                **normalizer,
                **options,
            )
        except RuntimeError as error:
            raise ValueError(
                f"a {options['model_type']} model of {size} pieces cannot be made: {error}"
            ) from error
    # SentencePiece keeps the path of the rules; a name of the same length makes equal texts equal bytes.
    return writer.getvalue().replace(str(rules).encode(), b"fold.tsv".rjust(len(str(rules)), b"/"))


def _measure(model: bytes, kept: list[tuple[str, str]], script: str, report: TokenizerReport) -> None:
    """Encode every text and write it back: count pieces, and refuse what does not come back."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    report.vocab_size = processor.vocab_size()
    missing: dict[str, bool] = {}
    for text, lang in kept:
        ids = processor.encode(text)
        report.met[lang] += len(text)
        if 0 in ids:
            report.unknown[lang] += sum(_is_missing(char, processor, missing) for char in text)
        decoded = processor.decode(ids)
        if (unfold(decoded, lang) if script == "common" else decoded) != text or 0 in ids:
            report.refuse(text, lang)
            continue
        report.texts[lang] += 1
        report.characters[lang] += len(text)
        report.pieces[lang] += len(ids)
        report.words[lang] += len(text.split())


def _is_missing(char: str, processor: Any, known: dict[str, bool]) -> bool:
    """Return whether a character has no piece; `known` keeps the answers."""
    if char not in known:
        known[char] = 0 in processor.encode(char)
    return known[char]


def _write(model: bytes, report: TokenizerReport, config: dict[str, Any]) -> None:
    report.folder.mkdir(parents=True, exist_ok=True)
    (report.folder / f"{config['models'][0]}.model").write_bytes(model)
    config |= {"vocab_size": report.vocab_size, "sha256": hashlib.sha256(model).hexdigest()}
    OmegaConf.save(OmegaConf.create(config), report.folder / "tokenizer.yaml")
