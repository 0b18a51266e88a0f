"""Which utterances to look at first: the most word errors, taken from the languages in turn."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import NamedTuple


class Failing(NamedTuple):
    """An utterance with errors, of one system or summed over several."""

    utt_id: str
    lang: str
    errors: int
    words: int


def worst_first(utterances: Iterable[Failing]) -> list[str]:
    """Returns the ids of utterances with errors: first the worst of every language, then the second worst.

    Taken in turn, a language that goes badly does not hide the others.
    """
    by_lang: dict[str, list[Failing]] = defaultdict(list)
    for item in utterances:
        if item.errors:
            by_lang[item.lang].append(item)
    columns = [
        [item.utt_id for item in sorted(items, key=lambda item: (-item.errors, item.words, item.utt_id))]
        for _, items in sorted(by_lang.items())
    ]
    return [utt_id for utt_id in chain.from_iterable(zip_longest(*columns)) if utt_id is not None]
