"""Language models and phrase boosting against plain look-ups."""

import gzip
import itertools
import math
import random
import sys
import types

import pytest
import torch

from maya_encoder.decoding import DecodingOptions, boost_phrases, load_lm
from maya_encoder.decoding.arpa import NEVER, BadLanguageModel, read_arpa
from maya_encoder.decoding.boosting import boost_tokens
from maya_encoder.decoding.ctc_beam import ctc_beam
from maya_encoder.decoding.fusion import Fusion
from maya_encoder.decoding.ngram_lm import WalkingScorer, token_automaton

CPU = torch.device("cpu")
ARPA = """made by hand

\\data\\
ngram 1=5
ngram 2=4
ngram 3=1

\\1-grams:
-99\t<s>\t-0.5
-1.0\t</s>
-2.0\t<unk>\t-0.1
-0.5\ta\t-0.3
-0.7\tb\t-0.2

\\2-grams:
-0.2\t<s> a\t-0.4
-0.3\ta b\t-0.6
-0.4\tb a
-0.1\tb </s>

\\3-grams:
-0.05\t<s> a b

\\end\\
"""


@pytest.fixture
def arpa(tmp_path):
    (tmp_path / "lm.arpa").write_text(ARPA)
    return tmp_path / "lm.arpa"


def walked(model, text):
    """Log10-probability of a text, word by word."""
    history, total = model.start, 0.0
    for word in text:
        step, history = model.step(history, word)
        total += step
    return (total + model.end(history)) / math.log(10)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", -0.5 - 1.0),
        ("a", -0.2 + (-0.4 - 0.3 - 1.0)),
        ("ab", -0.2 - 0.05 + (-0.6 - 0.1)),
        ("ba", (-0.5 - 0.7) - 0.4 + (-0.3 - 1.0)),
        ("aa", -0.2 + (-0.4 - 0.3 - 0.5) + (-0.3 - 1.0)),
        ("z", (-0.5 - 2.0) + (-0.1 - 1.0)),
    ],
)
def test_arpa_backs_off_by_hand(arpa, text, wanted):
    assert walked(read_arpa(arpa), text) == pytest.approx(wanted, abs=1e-6)


def test_arpa_may_be_compressed(arpa, tmp_path):
    (tmp_path / "lm.arpa.gz").write_bytes(gzip.compress(ARPA.encode()))
    assert read_arpa(tmp_path / "lm.arpa.gz") == read_arpa(arpa)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hello", "is not an ARPA language model: it has no line"),
        (ARPA.replace("-0.7\tb\t-0.2", "-0.7 b c d"), "line 13 is no 1-gram of an ARPA language model"),
        (ARPA.replace("ngram 2=4", "ngram 2=9"), "announces 9 2-grams and holds 4: it is damaged"),
        (ARPA[: ARPA.index("\\3-grams")], "announces 1 3-grams and holds 0"),
        ("\\data\\\n\\end\\\n", "announces no n-grams"),
    ],
)
def test_a_damaged_arpa_file_is_named(tmp_path, text, wanted):
    (tmp_path / "bad.arpa").write_text(text)
    with pytest.raises(BadLanguageModel, match=wanted):
        read_arpa(tmp_path / "bad.arpa")


def test_a_missing_language_model_is_named(tmp_path, tokenizer):
    with pytest.raises(BadLanguageModel, match=r"no such language model: .*none\.arpa"):
        load_lm(tmp_path / "none.arpa", tokenizer)


def random_arpa(path, words, seed):
    """A trigram model with holes, so that every kind of back-off happens."""
    draw = random.Random(seed)
    levels = [{(word,) for word in [*words, "<s>", "</s>", "<unk>"]}]
    for _ in range(2):
        grown = {(*n, w) for n in levels[-1] for w in [*words, "</s>"] if n[-1] not in ("</s>", "<unk>")}
        levels.append({n for n in grown if n[1:] in levels[-1] and draw.random() < 0.5})
    lines = ["\\data\\", *(f"ngram {k}={len(level)}" for k, level in enumerate(levels, start=1))]
    for order, level in enumerate(levels, start=1):
        lines += ["", f"\\{order}-grams:"]
        lines += [f"{-3 * draw.random():.4f}\t{' '.join(n)}\t{-draw.random():.4f}" for n in sorted(level)]
    path.write_text("\n".join([*lines, "", "\\end\\", ""]))
    return read_arpa(path)


@pytest.mark.parametrize("seed", range(3))
def test_the_automaton_scores_as_the_model_does(tmp_path, seed):
    model = random_arpa(tmp_path / "lm.arpa", "abcd", seed)
    spelling = ["a", "b", "c", "d", "never seen"]
    fusion = Fusion([(token_automaton(model, spelling), 1.0)])
    slow = Fusion([(WalkingScorer(model, spelling.__getitem__), 1.0)])
    draw = random.Random(seed)
    texts = [[draw.randrange(5) for _ in range(draw.randrange(8))] for _ in range(60)]
    wanted = [walked(model, [spelling[i] for i in text]) * math.log(10) for text in texts]
    assert fusion.totals(texts, CPU) == pytest.approx(wanted, abs=1e-3)
    assert slow.totals(texts, CPU) == pytest.approx(wanted, abs=1e-3)


def test_two_ids_may_share_a_word_and_a_model_need_not_know_unknown_words(tmp_path):
    (tmp_path / "lm.arpa").write_text("\\data\\\nngram 1=1\n\\1-grams:\n-0.5 a\n\\end\\\n")
    automaton = token_automaton(read_arpa(tmp_path / "lm.arpa"), ["a", "a", "b"])
    scores, _ = automaton.step(torch.tensor([automaton.start]), torch.tensor([[0, 1, 2]]))
    assert scores[0].tolist() == pytest.approx([-0.5 * math.log(10)] * 2 + [NEVER])


def test_words_are_scored_where_the_next_one_begins(tmp_path, native_models):
    from maya_encoder.tokenizer import Tokenizer

    tokenizer = Tokenizer(native_models[:1])
    first, second = "नमस्ते", "दुनिया"
    lines = [f"-1 {first}\t-0.25", f"-2 {second}", "-3 <unk>", "-4 </s>", "-9 <s>\t-0.5"]
    head = "\\data\\\nngram 1=5\nngram 2=1\n\\1-grams:\n"
    (tmp_path / "lm.arpa").write_text(
        head + "\n".join(lines) + f"\n\\2-grams:\n-0.1 {first} {second}\n\\end\\\n"
    )
    scorer = load_lm(tmp_path / "lm.arpa", tokenizer)
    tokens = tokenizer.encode(f"{first} {second}")
    states, steps = torch.tensor([scorer.start]), []
    for token in tokens:
        scores, after = scorer.step(states, torch.tensor([[token]]))
        states = after[:, 0]
        steps.append(float(scores) / math.log(10))
    begin = len(tokenizer.encode(first))
    assert steps == pytest.approx([0.0] * begin + [-0.5 - 1] + [0.0] * (len(tokens) - begin - 1))
    assert float(scorer.final(states)) / math.log(10) == pytest.approx(-0.1 - 4)


def test_the_vocabulary_tells_tokens_from_words(tmp_path, tokenizer):
    def write(words):
        lines = "\n".join(f"-1 {word}" for word in words)
        (tmp_path / "lm.arpa").write_text(f"\\data\\\nngram 1={len(words)}\n\\1-grams:\n{lines}\n\\end\\\n")
        return load_lm(tmp_path / "lm.arpa", tokenizer, "en")

    pieces = [tokenizer.piece(i) for i in range(1, tokenizer.vocab_size)]
    for words in (pieces, [chr(100 + i) for i in range(tokenizer.vocab_size)]):
        assert write(words).num_tokens == tokenizer.vocab_size
        scores, _ = write(words).step(torch.tensor([0]), torch.tensor([[5]]))
        assert float(scores) == pytest.approx(-math.log(10))
    assert write(["hello", "world"]).tokenizer is tokenizer
    with pytest.raises(BadLanguageModel, match="knows no token of this tokenizer; its first word is 'hello'"):
        load_lm(tmp_path / "lm.arpa", tokenizer, unit="token")


@pytest.fixture
def kenlm(monkeypatch, arpa):
    """A stand-in for the package, over the ARPA file: its interface is that of kenlm 0.3."""

    class State:
        history = None

        def __hash__(self):
            return hash(self.history)

        def __eq__(self, other):
            return self.history == other.history

    class Model:
        def __init__(self, path):
            self.ngrams = read_arpa(arpa)

        def BeginSentenceWrite(self, state):
            state.history = self.ngrams.start

        def BaseScore(self, state, word, after):
            score, after.history = self.ngrams.step(state.history, word)
            return score / math.log(10)

        def __contains__(self, word):
            return (word,) in self.ngrams.log_probs

    module = types.ModuleType("kenlm")
    module.State, module.Model = State, Model
    monkeypatch.setitem(sys.modules, "kenlm", module)


@pytest.fixture
def binary(tmp_path):
    (tmp_path / "lm.binary").write_bytes(
        b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(20)
    )
    return tmp_path / "lm.binary"


def test_a_kenlm_binary_scores_words(binary, kenlm, tokenizer):
    fusion = Fusion([(load_lm(binary, tokenizer, "en"), 1.0)])
    tokens = tokenizer.encode("hello world", "en")
    wanted = walked(read_arpa(binary.with_name("lm.arpa")), ["hello", "world"]) * math.log(10)
    assert fusion.totals([tokens], CPU) == pytest.approx([wanted], abs=1e-4)


def test_a_kenlm_binary_names_the_package_it_needs(binary, monkeypatch, tokenizer):
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'maya-encoder\[lm\]'"):
        load_lm(binary, tokenizer)


PHRASES = {(0, 1): 1.0, (0, 1, 2): 0.5, (1, 0, 1, 0): 2.0, (2,): 0.25, (1, 1): -1.0}


def test_a_text_earns_its_phrases_and_nothing_else():
    fusion = Fusion([(boost_tokens(PHRASES, num_tokens=4), 1.0)])
    texts = [
        list(text)
        for n in range(7)
        for text in itertools.product(range(4), repeat=n)
        if n < 5 or sum(text) < 5
    ]
    wanted = [
        sum(
            bonus * len(phrase)
            for phrase, bonus in PHRASES.items()
            for start in range(len(text))
            if tuple(text[start : start + len(phrase)]) == phrase
        )
        for text in texts
    ]
    assert fusion.totals(texts, CPU) == pytest.approx(wanted, abs=1e-4)


def test_a_phrase_is_paid_for_on_the_way():
    automaton = boost_tokens({(0, 1, 2): 1.0}, num_tokens=4)
    scores, states = automaton.step(torch.tensor([0]), torch.tensor([[0, 1]]))
    assert scores.tolist() == [[1.0, 0.0]]
    assert automaton.final(states[0]).tolist() == [-1.0, 0.0]


def test_boosting_changes_what_the_beam_writes(tokenizer):
    wanted = tokenizer.encode("hello", "en")
    log_probs = torch.full((1, 2 * len(wanted), tokenizer.vocab_size + 1), -9.0)
    log_probs[..., -1] = -0.1
    for place, token in enumerate(wanted):
        log_probs[0, 2 * place, token] = -1.0
    lens = torch.tensor([2 * len(wanted)])
    ((plain,),) = ctc_beam(log_probs, lens, DecodingOptions(strategy="beam", beam_size=8))
    boost = boost_phrases(["hello"], tokenizer, "en", bonus=2.0)
    ((boosted,),) = ctc_beam(log_probs, lens, DecodingOptions(strategy="beam", beam_size=8, boost=boost))
    assert plain.tokens != wanted
    assert boosted.tokens == wanted


def test_the_language_model_chooses_between_like_sounds():
    log_probs = torch.tensor([[[0.1, 0.4, 0.4, 0.1]] * 3]).log()
    automaton = boost_tokens({(2, 1): 1.0}, num_tokens=3)
    options = DecodingOptions(strategy="beam", beam_size=20, lm=automaton, lm_weight=5.0)
    assert ctc_beam(log_probs, torch.tensor([3]), options)[0][0].tokens[-2:] == [2, 1]


def test_a_token_bonus_counts_tokens():
    log_probs = torch.tensor([[[0.3, 0.2, 0.5]] * 3]).log()
    options = DecodingOptions(strategy="beam", beam_size=20)
    plain = {tuple(n.tokens): n.score for n in ctc_beam(log_probs, torch.tensor([3]), options, nbest=20)[0]}
    options = DecodingOptions(strategy="beam", beam_size=20, token_bonus=0.7)
    for one in ctc_beam(log_probs, torch.tensor([3]), options, nbest=20)[0]:
        assert one.score == pytest.approx(plain[tuple(one.tokens)] + 0.7 * len(one.tokens), abs=1e-5)


def test_phrases_without_tokens_are_refused(tokenizer):
    with pytest.raises(ValueError, match="must have one token or more, got ''"):
        boost_phrases(["hello", ""], tokenizer, "en")
    with pytest.raises(ValueError, match="needs one phrase or more, got none"):
        boost_phrases([], tokenizer)
