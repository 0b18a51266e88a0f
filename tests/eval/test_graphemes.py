import random

import pytest

from maya_eval.graphemes import clusters

SCRIPTS = range(0x0900, 0x0D80, 0x80)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("क्षत्रिय", 3),
        ("நிலவு", 3),
        ("ಕ್ಷ", 2),
        ("ക്ഷ", 1),
        ("a b", 3),
        ("ज़रूर", 3),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1ee\U0001f1f3", 3),
        ("e\u0301", 1),
        ("", 0),
        (" \u093e", 1),
    ],
)
def test_clusters_are_what_a_reader_counts(text, count):
    assert len(clusters(text)) == count
    assert "".join(clusters(text)) == text


def _syllables(rng, block):
    consonants = [chr(block + i) for i in (0x15, 0x17, 0x24, 0x28, 0x2E, 0x30)]
    signs = ["", chr(block + 0x3F), chr(block + 0x4D), chr(block + 0x02)]
    joined = "".join(
        rng.choice(consonants) + chr(block + 0x4D) + rng.choice(["", "\u200d"])
        for _ in range(rng.choice([0, 0, 1, 2]))
    )
    return joined + rng.choice(consonants) + rng.choice(signs) + rng.choice(["", " ", "a", "\u200c"])


@pytest.mark.parametrize("block", SCRIPTS)
def test_clusters_equal_those_of_regex_on_syllables(block):
    regex = pytest.importorskip("regex")
    rng = random.Random(block)
    for _ in range(300):
        text = "".join(_syllables(rng, block) for _ in range(5))
        assert clusters(text) == regex.findall(r"\X", text)
