import threading

import numpy as np
import pytest
import soundfile
import soxr
import torch

from maya_encoder.acoustic_model import AcousticModel, AcousticModelConfig
from maya_encoder.audio import BadAudio
from maya_encoder.heads.ctc import CTCConfig
from maya_encoder.heads.tdt import TDTConfig
from maya_encoder.tokenizer import Tokenizer


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


HEADS = ["ctc", "rnnt", "tdt"]


@pytest.fixture
def plain_model(plain_model):
    torch.manual_seed(0)
    sizes = {"prediction_size": 8, "joint_size": 8, "max_symbols": 2}
    head = TDTConfig(**sizes, durations=(0, 1, 2)).build(16, plain_model.tokenizer.vocab_size + 1).eval()
    plain_model.heads["tdt"] = head
    with torch.no_grad():
        for name, weight in head.named_parameters():
            if name.endswith("weight") and weight.ndim > 1:
                weight.mul_(4)
        head.joint.joint_net[2].bias[0] -= 20  # the unknown piece
        head.joint.joint_net[2].bias[head.blank_id] -= 1
    return plain_model


def texts(hypotheses):
    return [hypothesis.text for hypothesis in hypotheses]


def alike(found, wanted):
    """Equal but for the last digits, which depend on the shapes that are multiplied."""
    numbers = [[one.score, *(word.confidence for word in one.words)] for one in (found, wanted)]
    times = [[(word.text, word.start, word.end) for word in one.words] for one in (found, wanted)]
    plain = [(one.text, one.lang, one.head, one.duration, one.tokens) for one in (found, wanted)]
    return plain[0] == plain[1] and times[0] == times[1] and numbers[0] == pytest.approx(numbers[1], abs=1e-3)


@pytest.mark.parametrize("head", HEADS)
def test_hypothesis_has_text_tokens_score_and_timed_words(plain_model, head):
    (found,) = plain_model.transcribe([noise(16000)], head=head)
    assert found.text == plain_model.tokenizer.decode(found.tokens)
    assert " ".join(word.text for word in found.words) == " ".join(found.text.split())
    assert found.words
    assert found.score < 0
    assert found.duration == 1.0
    for word, following in zip(found.words, [*found.words[1:], None], strict=True):
        assert 0 <= word.start < word.end <= (following.start if following else found.duration)
        assert 0 <= word.confidence <= 1


@pytest.mark.parametrize("head", HEADS)
def test_order_is_kept_and_the_batch_does_not_matter(plain_model, head):
    audio = [noise(9000, 0), noise(4000, 1), noise(16000, 2), noise(5000, 3)]
    alone = [plain_model.transcribe(item, head=head)[0] for item in audio]
    together = plain_model.transcribe(audio, head=head, batch_size=3)
    assert [one.duration for one in together] == [len(item) / 16000 for item in audio]
    assert all(map(alike, together, alone))


def test_audio_in_any_form_gives_the_same_text(plain_model, tmp_path):
    sound = noise(8000, 3)
    soundfile.write(tmp_path / "a.wav", sound, 16000, subtype="FLOAT")
    forms = [
        tmp_path / "a.wav",
        str(tmp_path / "a.wav"),
        sound,
        torch.from_numpy(sound),
        sound.astype(np.float64),
    ]
    found = plain_model.transcribe(forms)
    assert len(set(texts(found))) == 1
    assert texts(plain_model.transcribe(sound)) == texts(found[:1])


def test_arrays_are_resampled_from_the_given_rate_and_files_from_their_own(plain_model, tmp_path):
    sound = noise(4000, 4)
    soundfile.write(tmp_path / "a.wav", sound, 8000, subtype="FLOAT")
    file, array = plain_model.transcribe([tmp_path / "a.wav", sound], sampling_rate=8000)
    assert alike(file, array)
    assert array.duration == 0.5
    assert alike(array, plain_model.transcribe(soxr.resample(sound, 8000, 16000))[0])


def test_two_channels_are_heard_as_their_mean(plain_model):
    left, right = noise(8000, 5), noise(8000, 6)
    assert plain_model.transcribe(np.stack([left, right])) == plain_model.transcribe((left + right) / 2)


@pytest.mark.parametrize("frontend", ["modern", "legacy"])
@pytest.mark.parametrize("head", HEADS)
def test_audio_shorter_than_a_frame_has_an_empty_text(native_models, frontend, head, plain_model):
    plain_model.frontend.frontend = frontend
    short, long = plain_model.transcribe([noise(159), noise(8000)], head=head)
    assert (short.text, short.tokens, short.words, short.score) == ("", [], [], 0.0)
    assert short.duration == pytest.approx(159 / 16000)
    assert alike(long, plain_model.transcribe(noise(8000), head=head)[0])
    assert plain_model.transcribe([np.zeros(1)], sampling_rate=48000, head=head)[0].text == ""


@pytest.mark.parametrize("samples", [160, 161, 319, 500, 1280])
@pytest.mark.parametrize("head", HEADS)
def test_audio_of_a_few_frames_is_no_crash(plain_model, samples, head):
    for word in plain_model.transcribe(noise(samples), head=head)[0].words:
        assert 0 <= word.start < word.end <= samples / 16000


def test_nothing_to_transcribe_gives_nothing(plain_model, model):
    assert plain_model.transcribe([]) == []
    assert model.transcribe([], lang="hi") == []


def test_bad_audio_is_refused_before_anything_is_computed(plain_model, tmp_path):
    (tmp_path / "b.wav").write_text("hello")
    plain_model.encoder = None
    with pytest.raises(BadAudio, match=r"b\.wav is not a sound file"):
        plain_model.transcribe([noise(4000), tmp_path / "b.wav"])


def test_language_is_asked_for_only_where_the_model_cannot_write_without(model, plain_model):
    with pytest.raises(
        ValueError, match="`lang` must be given: this model writes by language, one of hi, bn, en"
    ):
        model.transcribe([noise(4000)])
    assert plain_model.transcribe([noise(4000)])[0].lang is None


def test_language_of_a_model_that_names_none_is_a_label(plain_model):
    (found,) = plain_model.transcribe([noise(4000)], lang="hi")
    assert found.lang == "hi"
    assert found.text == plain_model.transcribe([noise(4000)])[0].text


def test_only_language_of_a_model_need_not_be_said(tokenizer, plain_model):
    config = AcousticModelConfig(
        langs=("bn",), encoder=plain_model.config.encoder, heads={"ctc": CTCConfig()}
    )
    (found,) = AcousticModel(config, tokenizer).transcribe(noise(4000))
    assert found.lang == "bn"


def test_every_utterance_has_its_language(model):
    audio = [noise(9000, 0), noise(4000, 1), noise(6000, 2)]
    found = model.transcribe(audio, langs=["hi", "bn", "en"], batch_size=2)
    assert [one.lang for one in found] == ["hi", "bn", "en"]
    assert alike(found[1], model.transcribe(audio[1], lang="bn")[0])
    assert model.transcribe(audio, langs="hi") == model.transcribe(audio, lang="hi")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"lang": "ta"}, "does not know language 'ta'; it knows: hi, bn, en"),
        ({"langs": ["hi", "ta"]}, "does not know language 'ta'"),
        ({"langs": ["hi"]}, "`langs` must be one language or one for each of 2, got 1"),
        ({"lang": "hi", "langs": ["hi", "bn"]}, "`lang` or `langs` must be given, got both"),
        ({"lang": "hi", "head": "tdt"}, "no head named 'tdt'; it has: ctc, rnnt"),
        ({"lang": "hi", "batch_size": 0}, "`batch_size` must be 1 or more, got 0"),
        ({"lang": "hi", "sampling_rate": 0}, "`sampling_rate` must be a whole number .*, got 0"),
        ({"sampling_rate": "hi"}, "`lang` must be given"),
        ({"lang": "hi", "sampling_rate": "16k"}, "`sampling_rate` must be .*, got '16k'"),
    ],
)
def test_mistake_is_one_sentence(model, keywords, message):
    with pytest.raises(ValueError, match=message):
        model.transcribe([noise(4000), noise(4000)], **keywords)


def test_tdt_comes_first_and_ctc_last(plain_model):
    assert plain_model.transcribe(noise(4000))[0].head == "tdt"
    del plain_model.heads["tdt"]
    assert plain_model.transcribe(noise(4000))[0].head == "rnnt"
    del plain_model.heads["rnnt"]
    assert plain_model.transcribe(noise(4000))[0].head == "ctc"


def test_modes_stay_and_dropout_is_off(plain_model):
    wanted = plain_model.transcribe(noise(8000))
    plain_model.train()
    plain_model.encoder.eval()
    modes = [part.training for part in plain_model.modules()]
    assert plain_model.transcribe(noise(8000)) == wanted
    assert [part.training for part in plain_model.modules()] == modes


def test_model_trains_after_transcribing(plain_model):
    plain_model.train().transcribe([noise(8000)])
    encoded = plain_model.encode(torch.randn(1, 8000), torch.tensor([8000]))
    plain_model.head("ctc").loss(*encoded, *plain_model.tokenize(["नम"])).sum().backward()
    assert all(parameter.grad is not None for parameter in plain_model.head("ctc").parameters())


def test_threads_do_not_disturb_each_other(plain_model):
    audio = [noise(4000 + 1000 * seed, seed) for seed in range(6)]
    wanted = [plain_model.transcribe(item, head=HEADS[i % 3]) for i, item in enumerate(audio)]
    found: dict[int, list] = {}

    def work(i):
        local = {"attention_context": (3, 3)} if i > 2 else {}
        found[i] = plain_model.transcribe(audio[i], head=HEADS[i % 3], **local)

    plain_model.train()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(audio))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert plain_model.training
    assert [found[i] for i in range(3)] == wanted[:3]


def test_local_attention_is_for_one_call(plain_model):
    before = plain_model.transcribe(noise(32000))
    plain_model.transcribe(noise(32000), attention_context=(2, 2))
    assert plain_model.encoder.config.attention == "rel_pos"
    assert plain_model.transcribe(noise(32000)) == before


def test_wide_local_attention_hears_what_full_attention_hears(plain_model):
    audio = noise(16000, 8)
    assert texts(plain_model.transcribe(audio, attention_context=(500, 500))) == texts(
        plain_model.transcribe(audio)
    )


@pytest.mark.parametrize("head", HEADS)
def test_chunk_as_long_as_the_file_changes_nothing(plain_model, head):
    audio = noise(40000, 9)
    whole = plain_model.transcribe(audio, head=head)
    assert plain_model.transcribe(audio, head=head, chunk_duration=2.5) == whole


@pytest.mark.parametrize("head", HEADS)
def test_chunks_are_joined_on_one_time_line(plain_model, head):
    audio = noise(80000, 10)
    (found,) = plain_model.transcribe(audio, head=head, chunk_duration=1.5, overlap=0.5, batch_size=2)
    assert found.text == plain_model.tokenizer.decode(found.tokens)
    assert " ".join(word.text for word in found.words) == " ".join(found.text.split())
    assert [word.start for word in found.words] == sorted(word.start for word in found.words)
    assert found.words[-1].end > 2.5
    assert found.words[-1].end <= found.duration == 5.0


def test_chunked_and_whole_utterances_share_a_batch(plain_model):
    audio = [noise(80000, 10), noise(8000, 11)]
    together = plain_model.transcribe(audio, chunk_duration=1.5)
    alone = [plain_model.transcribe(item, chunk_duration=1.5)[0] for item in audio]
    assert all(map(alike, together, alone))


@pytest.mark.parametrize("head", HEADS)
def test_beam_scores_no_worse_than_the_greedy_search(plain_model, head):
    audio = noise(16000, 12)
    greedy, beam = (plain_model.transcribe(audio, head=head, beam=size)[0] for size in (1, 4))
    assert beam.score >= greedy.score - 1e-3
    assert beam.head == head


class Spelling(torch.nn.Module):
    """A head of somebody else: a loss and tokens, and nothing about frames."""

    def loss(self, *_):
        raise NotImplementedError

    def decode(self, encoder_out, encoder_out_lens, lang_ids=None):
        return [[1, 2]] * len(encoder_out)


def test_head_that_tells_no_frames_gives_text_without_words(plain_model):
    plain_model.heads["spelling"] = Spelling()
    (found,) = plain_model.transcribe(noise(8000), head="spelling")
    assert found.text == plain_model.tokenizer.decode([1, 2]).strip()
    assert found.words == []


def test_model_of_half_precision_transcribes(native_models, plain_model):
    plain_model.encoder.bfloat16()
    plain_model.heads.bfloat16()
    assert plain_model.transcribe(noise(8000), head="ctc")[0].words


def test_languages_of_several_tokenizer_models(native_models, plain_model):
    config = AcousticModelConfig(
        langs=("hi", "bn"), encoder=plain_model.config.encoder, heads={"ctc": CTCConfig()}, multisoftmax=True
    )
    model = AcousticModel(config, Tokenizer(native_models))
    with torch.no_grad():
        model.heads["ctc"].decoder_layers[0].weight.mul_(8)
    hindi, bengali = model.transcribe([noise(16000)] * 2, langs=["hi", "bn"])
    own = model.tokenizer.lang_vocab()
    assert hindi.tokens
    assert bengali.tokens
    assert set(hindi.tokens) <= set(own["hi"])
    assert set(bengali.tokens) <= set(own["bn"])
    assert model.transcribe(noise(16000))[0].text  # no language: every token may be written
