"""Reader of NeMo's `input_cfg` YAML: nested groups of manifests with tags and weights.

Weights are not the index's business: `mix_weights()` returns them for `mix: {policy: weights}`. What else the
index cannot hold is said by `notes()`, and as warnings when shards are listed.
"""

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import pyarrow as pa

from maya_data.readers import ShardRows
from maya_data.readers.input_cfg_file import Leaf, leaves
from maya_data.readers.languages import code_of
from maya_data.readers.lhotse_cuts import LhotseCuts
from maya_data.readers.nemo import Nemo
from maya_data.readers.nemo_tarred import NemoTarred
from maya_data.readers.reading import Reading
from maya_data.readers.shar import Shar
from maya_data.text import profile

log = logging.getLogger(__name__)
LANG_TAGS = ("lang", "language", "source_lang", "target_lang")
KEPT_TAGS = ("corpus", "speaker", "domain", *LANG_TAGS)
"""Tags that are columns of the index; they overrule what the lines say."""
YAML = (".yaml", ".yml")
READERS: dict[str, type[Reading]] = {
    "nemo": Nemo,
    "nemo_tarred": NemoTarred,
    "lhotse": LhotseCuts,
    "lhotse_shar": Shar,
}


@dataclass(kw_only=True)
class InputCfg(Reading):
    """All sets that an `input_cfg` names, with their tags."""

    name: str = "input_cfg"
    """Name of this reader."""
    root: str | None = None
    """Folder or URI that relative paths in the YAML are seen from, or the YAML; null: its folder."""
    config: str | None = None
    """Path of the YAML: a list of entries, or a mapping with `input_cfg`."""
    langs: list[str] | None = None
    """Languages to read; null reads every one that is there."""
    text: str = "asr-v1"
    """Text profile that loader and tokenizer take for this source; the index keeps the raw text."""

    def __post_init__(self) -> None:
        """Refuse an unknown text profile; find the root, which may name the YAML itself."""
        profile(self.text)
        if self.config is None and self.root is not None and self.root.endswith(YAML):
            self.config, self.root = self.root, None
        if self.config is not None and self.root is None:
            self.root = self.config.rpartition("/")[0] or "."

    def shards(self) -> list[str]:
        """Return number of the entry, colon, shard of its reader."""
        for note in self.notes():
            log.warning("%s: %s", self.config, note)
        parts = enumerate(self._parts)
        shards = [f"{number}:{shard}" for number, (_, reader) in parts for shard in _shards(reader)]
        if not shards:
            raise ValueError(f"{self.config}: nothing to read in the languages {', '.join(self.langs or [])}")
        return shards

    def signature(self, shard: str) -> str:
        """Return that of the entry's reader, with its tags."""
        number, _, rest = shard.partition(":")
        leaf, reader = self._parts[int(number)]
        return f"{sorted(leaf.tags.items(), key=str)} {reader.signature(rest)}"

    def read(self, shard: str, extras: bool = False) -> ShardRows:
        """Return the rows of one shard of one entry, with the entry's tags."""
        number, _, rest = shard.partition(":")
        leaf, reader = self._parts[int(number)]
        rows, dropped = reader.read(rest, extras)
        for column in ("speaker", "domain"):
            if column in leaf.tags:
                place = rows.column_names.index(column)
                rows = rows.set_column(place, column, pa.array([str(leaf.tags[column])] * len(rows)))
        return ShardRows(rows, dropped)

    def notes(self) -> list[str]:
        """Return what of the file the index cannot hold, one sentence each."""
        said = [f"{leaf.place}: {note}" for leaf, _ in self._parts for note in leaf.notes]
        tags = Counter(tag for leaf, _ in self._parts for tag in leaf.tags if tag not in KEPT_TAGS)
        said += [
            f"the tag {tag!r} of {number} entries is no column of the index" for tag, number in tags.items()
        ]
        if weights := self.mix_weights():
            listed = ", ".join(f"{name}: {weight:.4g}" for name, weight in weights.items())
            said.append(
                f"weights are no part of an index; as a mix: {{policy: weights, weights: {{{listed}}}}}"
            )
        return said

    def mix_weights(self) -> dict[str, float]:
        """Return `lang/corpus` -> share of the draws, where the file has weights; in groups, the product."""
        if not any(leaf.weighed for leaf, _ in self._parts):
            return {}
        weights: defaultdict[str, float] = defaultdict(float)
        for leaf, reader in self._parts:
            lang, corpus = getattr(reader, "lang", None), getattr(reader, "corpus", "")
            weights["/".join(filter(None, (lang, corpus))) or leaf.place] += leaf.weight
        return dict(weights)

    @cached_property
    def _parts(self) -> list[tuple[Leaf, Any]]:
        """Return the entries with their readers."""
        if self.config is None:
            raise ValueError("no value given for reader.config: the path of an input_cfg YAML")
        return [(leaf, self._reader(leaf)) for leaf in leaves(self.config, self.root or ".")]

    def _reader(self, leaf: Leaf) -> Reading:
        kind = READERS[leaf.kind]
        known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
        lang = next((code_of(str(leaf.tags[tag])) for tag in LANG_TAGS if leaf.tags.get(tag)), None)
        settings = {key: value for key, value in leaf.settings.items() if key in known}
        corpus = str(leaf.tags.get("corpus") or "")
        return kind(root=self.root, lang=lang, langs=self.langs, corpus=corpus, text=self.text, **settings)  # type: ignore[call-arg]


def _shards(reader: Any) -> list[str]:
    """Return the shards of an entry; none where it is in another language than those wanted."""
    if reader.lang is not None and reader.langs is not None and reader.lang not in reader.langs:
        return []
    shards: list[str] = reader.shards()
    return shards
