from types import SimpleNamespace

import pytest
import torch

from maya_bridge import decoding
from maya_bridge.decoding import (
    CTCEvidence,
    Decoded,
    DecodeOptions,
    Heard,
    decode,
    recognise_languages,
    without_guards,
)
from maya_bridge.decoding.rescore import IMPOSSIBLE, ctc_scores, rescored
from maya_bridge.decoding.result import Candidate
from maya_bridge.decoding.words import word_times
from maya_bridge.prompt import PromptBatch


@pytest.fixture
def evidence(acoustic):
    """Evidence whose best paths are the texts: two frames a token, then a blank."""

    def make(texts: list[str], sure: float = 8.0) -> CTCEvidence:
        tokenizer, size = acoustic.tokenizer, acoustic.tokenizer.vocab_size + 1
        paths = [
            [i for t in tokenizer.encode(text) for i in (t, t, size - 1)] or [size - 1] for text in texts
        ]
        rows = [torch.nn.functional.one_hot(torch.tensor(path), size).float() * sure for path in paths]
        lens = torch.tensor([len(row) for row in rows])
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return CTCEvidence(padded.log_softmax(-1), lens, tokenizer, ["hi"] * len(texts))

    return make


@pytest.fixture
def written(monkeypatch, make_model):
    """Let the LLM write what a test wants, and say which rows it was asked for."""
    model = make_model().eval()
    asked = SimpleNamespace(rows=[])

    def run(texts, heard, options=None, **more):
        tokenizer = model.llm_tokenizer

        def scripted(run, prompt, task):
            asked.rows = prompt.inputs_embeds[:, -1, 0].tolist()
            found = []
            for row, number in enumerate(map(int, asked.rows)):
                ids = tokenizer.encode(texts[number], "hi")
                found.append(task.decoded(row, ids, more.get("score", -1.0), 7, finished=True))
            return found

        monkeypatch.setattr(decoding, "greedy", scripted)
        number = torch.arange(float(len(texts)))[:, None, None].expand(-1, 3, 32)
        ones = torch.ones(len(texts), 3, dtype=torch.long)
        prompt = PromptBatch(number, ones, ones.cumsum(1) - 1, -100 * ones)
        return decode(model.llm, tokenizer, prompt, heard, options)

    run.asked = asked
    return run


def heard_with(evidence: CTCEvidence | None, count: int, **more) -> Heard:
    return Heard(["hi"] * count, [2.0] * count, evidence, **more)


def test_silence_is_empty_without_the_llm(written, evidence) -> None:
    texts = ["कख", "गच", "जत"]
    found = written(texts, heard_with(evidence(["कख", "", "जत"]), 3))
    assert [one.text for one in found] == ["कख", "", "जत"]
    assert [one.fallback for one in found] == [None, "silence", None]
    assert [one.passes for one in found] == [7, 0, 7]
    assert written.asked.rows == [0, 2]
    written.asked.rows = []
    assert [one.text for one in written(texts, heard_with(evidence(["", "", ""]), 3))] == [""] * 3
    assert written.asked.rows == []


def test_words_out_of_nowhere_become_the_ctc_text(written, evidence) -> None:
    heard = heard_with(evidence(["कख गच", "कख गच"]), 2)
    texts = ["कख गज", "लसय रमब नद"]
    found = written(texts, heard)
    assert [(one.text, one.fallback, one.doubt) for one in found] == [
        ("कख गज", None, None),
        ("कख गच", "hallucination", "hallucination"),
    ]
    assert found[1].ids == []
    checked = written(texts, heard, DecodeOptions(hallucination="check"))[1]
    assert (checked.text, checked.fallback, checked.doubt) == ("लसय रमब नद", None, "hallucination")
    plain = written(texts, heard, without_guards())[1]
    assert (plain.text, plain.doubt) == ("लसय रमब नद", None)


def test_an_unsure_text_is_doubted_too(written, evidence) -> None:
    (found,) = written(["कख गज"], heard_with(evidence(["कख गच"]), 1), score=-99.0)
    assert (found.text, found.doubt) == ("कख गच", "hallucination")


def test_a_loop_becomes_the_ctc_text_or_is_cut(written, evidence) -> None:
    loop = "कख " * 20 + "गच " * 20
    (found,) = written([loop], heard_with(evidence(["कख गच"]), 1), DecodeOptions(hallucination="off"))
    assert (found.text, found.fallback) == ("कख गच", "loop")
    (alone,) = written([loop], heard_with(None, 1))
    assert (alone.text, alone.doubt) == ("कख " * 20 + "गच", "loop")
    spoken = "कख " * 5 + "गच"
    (found,) = written([spoken], heard_with(evidence([spoken]), 1))
    assert (found.text, found.doubt) == (spoken, None)


def test_recited_hotwords_are_dropped(written, evidence) -> None:
    heard = heard_with(evidence(["कख"]), 1, hotwords=[["गच", "जत", "दन"]])
    (found,) = written(["गच जत दन"], heard)
    assert (found.text, found.fallback) == ("कख", "leak")


def test_words_have_times_in_order_inside_the_audio(written, evidence) -> None:
    (found,) = written(["कख गच"], heard_with(evidence(["कख गच"]), 1))
    assert [word.text for word in found.words] == ["कख", "गच"]
    assert 0 <= found.words[0].start < found.words[0].end <= found.words[1].start < found.words[1].end <= 2
    assert all(0.9 < word.confidence <= 1 for word in found.words)


def test_a_word_that_was_not_said_is_unsure_and_texts_that_do_not_fit_are_spread(evidence) -> None:
    known = evidence(["कख गच"])
    right, wrong = word_times(known, 0, "कख गल", 2.0)
    assert wrong.confidence < 0.1 < right.confidence
    spread = word_times(known, 0, "कख गच जत " * 9, 2.7)
    assert len(spread) == 27
    assert [word.confidence for word in spread] == [0.0] * 27
    assert spread[-1].end == pytest.approx(2.7)
    first, unknown, last = word_times(known, 0, "कख xyz गच", 2.0)
    assert unknown.confidence == 0
    assert first.start <= unknown.start <= last.start
    assert word_times(known, 0, "", 2.0) == []


def test_the_ctc_score_sums_over_all_paths(evidence) -> None:
    known = evidence(["कख"], sure=1.0)
    texts = ["कख", "गच", "", "कख गच जत दन"]
    scores = ctc_scores(known, 0, texts)
    assert scores[0] > scores[1]
    assert scores[3] == IMPOSSIBLE
    frames = int(known.lens[0])
    assert scores[2] == pytest.approx(float(known.log_probs[0, :frames, -1].sum()), abs=1e-4)


def test_the_joint_score_puts_the_heard_text_first(evidence) -> None:
    known = evidence(["कख"], sure=3.0)
    nbest = [Candidate("गच", [1], -1.0), Candidate("कख", [2], -2.0)]
    assert [one.text for one in rescored(nbest, 0, known, 0.3)] == ["कख", "गच"]
    assert [one.text for one in rescored(nbest, 0, known, 0.0)] == ["गच", "कख"]
    assert [one.text for one in rescored(nbest, 0, None, 0.3)] == ["गच", "कख"]
    first = rescored(nbest, 0, known, 0.3)[0]
    assert first.score == pytest.approx(0.7 * first.llm_score + 0.3 * first.ctc_score)


def test_the_evidence_reads_the_best_paths_and_how_sure_they_are(evidence) -> None:
    texts = ["कख गगच", "", "जत"]
    known = evidence(texts)
    assert known.texts == texts
    assert known.part([2, 0]).texts == ["जत", "कख गगच"]
    entropies = known.mean_entropies()
    assert bool((entropies < 0.1).all())
    unsure = evidence(texts, sure=0.0).mean_entropies()
    torch.testing.assert_close(unsure, torch.full((3,), float(torch.tensor(known.log_probs.shape[2]).log())))


def test_native_script_keeps_other_letters_out(make_model, spell, letters) -> None:
    model = make_model().eval()
    projected = model.project(spell([letters[:5]] * 2))
    embed = model.llm.get_input_embeddings()
    with torch.no_grad():
        prompt = model.prompt.build(
            embed, projected.speech_embeds, projected.speech_embeds_lens, ["hi", "en"]
        )
    heard = Heard(["hi", "en"], [1.0, 1.0], max_tokens=[20, 20])
    options = DecodeOptions(script="native", loop_guard=False, hallucination="off")
    native, english = decode(model.llm, model.llm_tokenizer, prompt, heard, options)
    assert any("\u0900" <= c < "\u0980" for c in native.text)
    assert english.text.isascii()


def test_a_draft_needs_a_ctc_head(written) -> None:
    with pytest.raises(ValueError, match="speculative needs a CTC head to draft the text, got none"):
        written(["कख"], heard_with(None, 1), DecodeOptions(strategy="speculative"))


def test_the_language_is_the_likeliest_of_those_that_are_possible(make_model) -> None:
    model = make_model().eval()
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(3, 4, 32, generator=generator)
    ones = torch.ones(3, 4, dtype=torch.long)
    prompt = PromptBatch(embeds, ones, ones.cumsum(1) - 1, -100 * ones)
    found = recognise_languages(model.llm, model.llm_tokenizer, prompt)
    with torch.no_grad():
        logits = model.llm(inputs_embeds=embeds, attention_mask=ones).logits[:, -1]
    for row, (lang, probability) in enumerate(found):
        others = [logits[row, model.llm_tokenizer.lang_id(other)] for other in ("as", "hi", "te")]
        assert logits[row, model.llm_tokenizer.lang_id(lang)] >= max(others)
        assert 1 / 12 <= probability <= 1
    only = recognise_languages(model.llm, model.llm_tokenizer, prompt, ["ta"])
    assert [lang for lang, _ in only] == ["ta"] * 3
    with pytest.raises(ValueError, match="`among` must name a language or more"):
        recognise_languages(model.llm, model.llm_tokenizer, prompt, [])
    with pytest.raises(ValueError, match="`lang` must be one of"):
        recognise_languages(model.llm, model.llm_tokenizer, prompt, ["fr"])


def test_the_mean_log_probability_counts_eos() -> None:
    assert Decoded([1, 2, 3], "x", score=-8.0).mean_log_prob == -2.0
    assert Decoded([1, 2], "x", score=-8.0, finished=False).mean_log_prob == -4.0
    assert Decoded([], "", finished=False).mean_log_prob == 0.0
