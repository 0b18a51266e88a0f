"""Synthetic speech in twelve languages, written like any other corpus: offline, in a minute.

It is for demos and tests. All speakers are filters over one synthesiser and all sentences come from a
small closed lexicon, so figures measured on it say nothing about real speech.
"""

from collections.abc import Sequence
from pathlib import Path

from maya_data.script import LANGS
from maya_data.synth.corpus import Sizes, Unit, plan
from maya_data.synth.errors import MissingExtra, SynthesisError
from maya_data.synth.metadata import write_metadata
from maya_data.synth.pool import Progress, make
from maya_data.synth.shards import is_done
from maya_data.synth.voices import VoiceSets, check, draw

__all__ = ["MissingExtra", "SynthesisError", "VoiceSets", "write_corpus", "write_metadata"]


def write_corpus(  # noqa: PLR0913 - every argument is a setting with a default
    out_dir: str | Path,
    *,
    langs: Sequence[str] = LANGS,
    sentences: int = 400,
    words: int = 2,
    valid: int = 12,
    test: int = 50,
    voices: VoiceSets | None = None,
    seed: int = 0,
    processes: int = 2,
    progress: Progress | None = None,
) -> Path:
    """Write OUT/{train,valid,test}/lang=xx/shard-NNNNN/ and return OUT.

    The same arguments give the same bytes. A finished shard is not made again, so an interrupted run goes on.

    Args:
        out_dir: Folder of the corpus.
        langs: Language codes.
        sentences: Sentences a language in train.
        words: Clips of every single word in train (domain "word").
        valid: Sentences a language in valid.
        test: Sentences a language in test.
        voices: Speakers of each split; drawn at random by `seed` unless given.
        seed: Chooses sentences, voices, rates, pitches and noise.
        processes: Worker processes.
        progress: Called with clips done, clips in all and the shard at work.
    """
    root, sizes = Path(out_dir), Sizes(sentences=sentences, words=words, valid=valid, test=test)
    voices = voices or draw(seed)
    check([*voices.train, *voices.valid, *voices.test])
    units = plan(langs, sizes, voices, seed)
    _refuse_strangers(root, units)
    missing = [unit for unit in units if not is_done(root, unit)]
    done = sum(len(unit.utterances) for unit in units) - sum(len(unit.utterances) for unit in missing)
    make(root, missing, processes=processes, progress=progress, done=done)
    return root


def _refuse_strangers(root: Path, units: list[Unit]) -> None:
    """A shard of another run in the same folder would silently become part of this corpus."""
    ours = {root / unit.folder for unit in units}
    for shard in sorted(root.glob("*/lang=*/shard-*")):
        if shard not in ours:
            raise SynthesisError(f"{shard} is not part of this corpus; remove it or choose another folder")
