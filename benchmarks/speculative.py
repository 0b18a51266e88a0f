"""Speculative search against greedy search and against transformers' generate, in one run.

    python benchmarks/speculative.py --llm DIR             # passes in twelve languages; seconds
    python benchmarks/speculative.py --llm DIR --wall      # the time of utterances too; three minutes

DIR is Gemma 3 270M in Hugging Face's layout (LLMConfig with source gguf makes one). Passes are counted with
its tokenizer and an LLM that is always right, over sentences of the synthetic corpus; drafts have words with
a wrong letter (70 % of the errors), words left out and words put in. Time is measured with the real LLM; its
own greedy text with every tenth word wrong, at least one, is the draft, and all ways must write the same
tokens. Ways take turns, and a figure is the best of the rounds.
"""

import argparse
import os
import random
import statistics
import time
from dataclasses import dataclass

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # on a busy machine, spinning threads time each other
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch
from rich.console import Console
from rich.table import Table
from transformers import GenerationConfig

from maya_bridge.decoding.greedy import Task, greedy
from maya_bridge.decoding.lazy_logits import LazyLogits
from maya_bridge.decoding.speculative import speculative
from maya_bridge.decoding.state import LLMRun
from maya_bridge.llm import LLMConfig, load_llm
from maya_bridge.prompt import PromptBatch
from maya_data.synth.phrases import lexicon

LANGS = ["as", "bn", "en", "gu", "hi", "kn", "ml", "mr", "or", "pa", "ta", "te"]
ERROR_RATES = (0.05, 0.1, 0.2, 0.4)
BAR_PASSES, BAR_TIME = 6.0, 3.0
CAP = 400


def sentences(lang: str, count: int, rng: random.Random) -> list[str]:
    """Return utterances of 20 to 30 words, which is about ten seconds."""
    found = []
    while len(found) < count:
        words: list[str] = []
        while len(words) < 20:
            words += lexicon(lang).sentence(rng).split()
        found.append(" ".join(words[:30]))
    return found


def with_errors(text: str, rate: float, lang: str, rng: random.Random) -> str:
    """Return the text with about this share of its words wrong, each word by chance."""
    words = text.split()
    return spoiled(words, [place for place in range(len(words)) if rng.random() < rate], lang, rng)


def with_share_of_errors(text: str, rate: float, lang: str, rng: random.Random) -> str:
    """Return the text with just this share of its words wrong, rounded, and one at least."""
    words = text.split()
    return spoiled(words, rng.sample(range(len(words)), max(1, round(rate * len(words)))), lang, rng)


def spoiled(words: list[str], places: list[int], lang: str, rng: random.Random) -> str:
    """Return the words with errors at these places: 70 % wrong letters, 15 % left out, 15 % put in."""
    vocabulary = lexicon(lang).words()
    letters = sorted(set("".join(vocabulary)) - {" "})
    found = []
    for number, word in enumerate(words):
        kind = rng.random() if number in places else 1.0
        if kind < 0.7:
            place = rng.randrange(len(word))
            others = [letter for letter in letters if letter != word[place]]
            found.append(word[:place] + rng.choice(others) + word[place + 1 :])
        elif kind >= 0.85:
            found += [word] if kind == 1.0 else [word, rng.choice(vocabulary)]
    return " ".join(found)


class Oracle:
    """Stands where an LLM's state does, and always expects the true text: gives ids, not logits."""

    device = torch.device("cpu")

    def __init__(self, truths: list[list[int]]):
        self.truths = truths
        self.written: list[list[int]] = []
        self.rows = self.passes = torch.zeros(0, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.written)

    def prefill(self, prompt):
        return self.prefill_with(prompt, torch.zeros(len(self.truths), 0, dtype=torch.long))[:, 0]

    def prefill_with(self, prompt, ids, lens=None, rows=None):
        self.rows = torch.arange(len(self.truths))
        self.passes = torch.zeros_like(self.rows)
        self.written = [[] for _ in self.truths]
        return self._read(ids, lens, ids.shape[1] + 1)

    def step(self, ids, lens=None):
        ids = ids[:, None] if ids.dim() == 1 else ids
        return self._read(ids, lens, ids.shape[1])

    def _read(self, ids, lens, width):
        self.passes = self.passes + 1
        counts = [ids.shape[1]] * len(ids) if lens is None else lens.tolist()
        expected = torch.zeros(len(ids), width, 1)
        for place, count in enumerate(counts):
            text, row = self.truths[int(self.rows[place])], self.written[place]
            first = len(row) + 1 - (width - ids.shape[1])  # a prompt's own last position answers as well
            answers = (text + [0] * width)[first : first + width]
            expected[place, : len(answers), 0] = torch.tensor(answers)
            row += ids[place, :count].tolist()
        return expected

    def verify_behind(self, prompt, ids, lens, rows=None):
        return LazyLogits(self.prefill_with(prompt, ids, lens, rows), torch.nn.Identity())

    def verify(self, ids, lens):
        return LazyLogits(self.step(ids, lens), torch.nn.Identity())

    def crop(self, lens):
        self.written = [row[:count] for row, count in zip(self.written, lens.tolist(), strict=True)]

    def reorder(self, rows):
        self.written = [self.written[row] for row in rows]
        self.rows, self.passes = self.rows[list(rows)], self.passes[list(rows)]


class SureTask(Task):
    """Reads the oracle's answers."""

    def best(self, logits, rows):
        return logits[..., 0].long(), logits[..., 0] * 0


def count_passes(tokenizer, count: int) -> Table:
    """Return a table of passes, greedy over speculative, by language and error rate."""
    table = Table(title=f"LLM passes, greedy over speculative, {count} sentences a language")
    for column in ("language", "tokens", *(f"WER {rate:.0%}" for rate in ERROR_RATES)):
        table.add_column(column, justify="right")
    totals = {rate: [0, 0] for rate in ERROR_RATES}
    for lang in LANGS:
        rng, ratios = random.Random(lang), []
        texts = sentences(lang, count, rng)
        truths = [[*tokenizer.encode(text, lang), tokenizer.eos_id] for text in texts]
        task = SureTask(tokenizer, [lang] * count, [CAP] * count)
        plain = [one.passes for one in greedy(Oracle(truths), None, task)]
        for rate in ERROR_RATES:
            drafts = [with_errors(text, rate, lang, rng) for text in texts]
            found = speculative(Oracle(truths), None, task, drafts)
            if [one.ids for one in found] != [truth[:-1] for truth in truths]:
                raise SystemExit(f"{lang}: the two searches wrote different tokens")
            pair = sum(plain), sum(one.passes for one in found)
            totals[rate] = [sum(both) for both in zip(totals[rate], pair, strict=True)]
            ratios.append(pair[0] / pair[1])
        table.add_row(lang, str(sum(map(len, truths)) // count), *(f"{ratio:.1f}" for ratio in ratios))
    table.add_row("all", "", *(f"{plain / few:.1f}" for plain, few in totals.values()))
    plain, few = totals[0.1]
    table.caption = f"at 10 %: {plain / few:.1f}x fewer, to reach: {BAR_PASSES:.0f}x"
    return table


def repeating_prompt(llm, tokenizer, written: list[int]) -> PromptBatch:
    """Return a prompt that makes a language model write these tokens again: they stand there twice."""
    ids = [tokenizer.bos_id, *written, *written]
    with torch.no_grad():
        embeds = llm.get_input_embeddings()(torch.tensor([ids]))
    mask = torch.ones(1, len(ids), dtype=torch.long)
    return PromptBatch(embeds, mask, torch.arange(len(ids))[None], torch.full_like(mask, -100))


def generate(llm, prompt: PromptBatch, count: int) -> list[int]:
    """Return the tokens of transformers' own greedy search."""
    config = GenerationConfig(do_sample=False, max_new_tokens=count, eos_token_id=1, pad_token_id=0)
    with torch.inference_mode():
        ids = llm.generate(
            inputs_embeds=prompt.inputs_embeds,
            attention_mask=prompt.attention_mask,
            position_ids=prompt.position_ids,
            generation_config=config,
        )
    return ids[0].tolist()


def seconds(call) -> tuple[tuple[float, float], object]:
    """Return wall and CPU seconds, and what the call gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = call()
    return (time.perf_counter() - wall, time.process_time() - cpu), found


@dataclass(frozen=True)
class Timing:
    """One utterance: its draft, and the best wall and CPU seconds of each way."""

    words: int
    wrong: int
    passes: int
    generate: tuple[float, float]
    speculative: tuple[float, float]

    @property
    def ratios(self) -> tuple[float, float]:
        """How many times faster, by wall and by CPU time."""
        wall, cpu = (a / b for a, b in zip(self.generate, self.speculative, strict=True))
        return wall, cpu


@torch.inference_mode()
def time_utterance(llm, tokenizer, lang: str, num_tokens: int, rounds: int) -> Timing:
    """Let the LLM write an utterance, and time both ways of writing it again."""
    rng = random.Random(lang)
    task, text = Task(tokenizer, [lang], [num_tokens]), ""
    while len(text.split()) < num_tokens / 6:  # it may go on with white space
        ids = tokenizer.encode(" ".join(sentences(lang, 4, rng)), lang)[:num_tokens]
        prompt = repeating_prompt(llm, tokenizer, ids)
        plain = greedy(LLMRun(llm), prompt, task)[0]
        text = plain.text
    words = text.split()
    draft = with_share_of_errors(text, 0.1, lang, rng)
    times: dict[str, list[tuple[float, float]]] = {"generate": [], "speculative": []}
    for _ in range(rounds):
        took, generated = seconds(lambda: generate(llm, prompt, num_tokens))
        times["generate"].append(took)
        took, found = seconds(lambda: speculative(LLMRun(llm), prompt, task, [draft])[0])
        times["speculative"].append(took)
        if not generated == plain.ids == found.ids:
            raise SystemExit(f"{lang}: the ways wrote different tokens")
    best = {way: (min(wall for wall, _ in took), min(cpu for _, cpu in took)) for way, took in times.items()}
    return Timing(len(words), max(1, round(0.1 * len(words))), found.passes, **best)


def measure_time(llm, tokenizer, langs: list[str], num_tokens: int, rounds: int) -> Table:
    """Return a table of seconds, for one utterance of so many tokens a language, drafts at 10 % WER."""
    table = Table(title=f"one utterance of {num_tokens} tokens, draft at 10 % WER; seconds")
    columns = ("words", "wrong", "passes", "generate", "speculative", "times faster", "in CPU time")
    for column in ("language", *columns):
        table.add_column(column, justify="right")
    found = {lang: time_utterance(llm, tokenizer, lang, num_tokens, rounds) for lang in langs}
    for lang, one in found.items():
        numbers = (one.words, one.wrong, one.passes)
        times = (f"{one.generate[0]:.2f}", f"{one.speculative[0]:.2f}")
        table.add_row(lang, *map(str, numbers), *times, *(f"{ratio:.1f}" for ratio in one.ratios))
    table.caption = "; ".join(
        f"by {name} median {statistics.median(ratios):.1f}x, worst {min(ratios):.1f}x"
        for name, ratios in zip(
            ("wall", "CPU"), zip(*(one.ratios for one in found.values()), strict=True), strict=True
        )
    )
    table.caption += f"; to reach: {BAR_TIME:.0f}x"
    return table


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--llm", required=True)
    parser.add_argument("--sentences", type=int, default=30)
    parser.add_argument("--wall", action="store_true")
    parser.add_argument("--langs", nargs="+", default=LANGS)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    llm, tokenizer = load_llm(LLMConfig(path=args.llm))
    Console().print(count_passes(tokenizer, args.sentences))
    if args.wall:
        Console().print(measure_time(llm.eval(), tokenizer, args.langs, args.tokens, args.rounds))


if __name__ == "__main__":
    main()
