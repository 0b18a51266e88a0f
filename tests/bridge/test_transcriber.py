import numpy as np
import pytest

from maya_encoder.plugins import find


def test_plugin_transcribes_with_the_llm_in_the_order_given(speech_llm_folder, tone):
    transcriber = find("transcribers", "maya-llm")().build(str(speech_llm_folder))
    long, short = np.tile([0.5, -0.5], 4500).astype(np.float32), np.tile([900, -900], 2000).astype(np.int16)

    found = transcriber.transcribe([long, tone, short], ["hi", "bn", "hi"], batch_size=2)

    assert [h.lang for h in found] == ["hi", "bn", "hi"]
    assert [h.head for h in found] == ["llm"] * 3
    assert [h.duration for h in found] == [9000 / 16000, 0.5, 0.25]
    alone = transcriber.transcribe([long], "hi")
    assert alone[0] == found[0]


def test_plugin_may_use_a_head_instead(speech_llm_folder, tone):
    transcriber = find("transcribers", "maya-llm")(decode="ctc").build(str(speech_llm_folder))

    assert transcriber.transcribe([tone], "hi")[0].head == "ctc"


def test_unknown_ways_of_decoding_are_named():
    with pytest.raises(ValueError, match=r"`decode` must be one of greedy, beam, .*, tdt, got alibi"):
        find("transcribers", "maya-llm")(decode="alibi")
    with pytest.raises(ValueError, match=r"`options` must be fields of DecodeOptions: .*'beams'"):
        find("transcribers", "maya-llm")(options={"beams": 2})
    with pytest.raises(ValueError, match="`options` are about the LLM's text, and `decode` is ctc"):
        find("transcribers", "maya-llm")(decode="ctc", options={"beam_size": 2})


def test_languages_must_match_the_audio(speech_llm, tone):
    with pytest.raises(ValueError, match="`langs` must be one or one for each of 2, got 1"):
        speech_llm.transcribe([tone, tone], ["hi"])
