import re

import pytest

from maya_data.synth import voices
from maya_data.synth.errors import SynthesisError

pytest.importorskip("espeakng_loader")


def test_splits_share_no_voice_and_hold_all_of_them():
    sets = voices.draw(0)

    everyone = [*sets.train, *sets.valid, *sets.test]
    assert (len(sets.valid), len(sets.test)) == (8, 10)
    assert sorted(everyone) == sorted(set(voices.available()) - set(voices.LEFT_OUT))


def test_the_seed_draws_the_voices():
    assert voices.draw(1) == voices.draw(1)
    assert voices.draw(1).test != voices.draw(2).test


def test_a_voice_that_does_not_exist_is_refused():
    message = "eSpeak NG has no voice variant 'michael'; did you mean 'Michael'?"
    with pytest.raises(SynthesisError, match=re.escape(message)):
        voices.check(["f1", "michael"])


def test_a_voice_in_two_splits_is_refused():
    with pytest.raises(SynthesisError, match="voice 'f1' stands twice"):
        voices.VoiceSets(train=("f1", "f2"), valid=("m1",), test=("f1",))
