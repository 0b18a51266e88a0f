import random
from types import SimpleNamespace

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from maya_bridge.llm import LLMConfig, load_llm
from maya_bridge.text_side import SPECIAL_TOKENS, LLMTokenizer
from maya_bridge.unit_index import CharacterCount, Progress, characters_written, unit_index


def gemma_like(pieces):
    """A tokenizer that writes spaces as U+2581 and unknown characters as bytes, as Gemma's does."""
    special = ["<pad>", "<eos>", "<bos>", *SPECIAL_TOKENS]
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    characters = sorted(set("".join(pieces)))
    vocab = {}
    for token in [*special, *bytes_, *characters, *pieces]:
        vocab.setdefault(token, len(vocab))
    merges = []
    for piece in pieces:
        for end in range(2, len(piece) + 1):
            vocab.setdefault(piece[:end], len(vocab))
            if (pair := (piece[: end - 1], piece[end - 1])) not in merges:
                merges.append(pair)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True))
    from tokenizers import normalizers

    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    hf = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>"
    )
    return LLMTokenizer(hf)


@pytest.fixture(scope="module")
def tokenizer():
    return gemma_like(["\u2581the", "\u2581cat", "\u2581sat", "th", "at", "\u2581"])


def test_each_token_counts_the_characters_up_to_its_end(tokenizer):
    ids = tokenizer.encode("the cat", "en")

    assert [tokenizer.hf.decode([i]) for i in ids] == [" the", " cat"]
    assert characters_written(ids, tokenizer) == [3, 7]


def test_bytes_count_when_their_character_is_whole(tokenizer):
    ids = tokenizer.encode("the \u0c95\u0c96t", "en")  # three bytes a letter

    assert characters_written(ids, tokenizer)[-8:] == [4, 4, 4, 5, 5, 5, 6, 7]


def test_bytes_that_never_become_a_character_do_not_stop_the_count(tokenizer):
    broken = [*tokenizer.encode("the", "en"), tokenizer.special_id("<0xE0>"), *tokenizer.encode_piece("that")]

    counts = characters_written(broken, tokenizer)

    assert counts[0] == counts[1] == 3
    assert counts == sorted(counts)
    assert counts[-1] >= 7


def test_prompt_hotwords_padding_and_end_write_nothing(tokenizer):
    special, text = tokenizer.special_id, tokenizer.encode("the cat", "en")
    before = [tokenizer.pad_id, tokenizer.bos_id, *tokenizer.encode("sat", "en"), special("<|transcribe|>")]
    row = [*before, special("<|en|>"), *text, tokenizer.eos_id, tokenizer.pad_id]

    assert characters_written(row, tokenizer) == [0] * len(before) + [0, 3, 7, 7, 7]


def test_index_is_the_last_unit_whose_characters_are_all_written(tokenizer):
    rows = [tokenizer.encode("the cat", "en"), [*tokenizer.encode("sat", "en"), tokenizer.pad_id]]
    # "t" "he" " c" "at", and "s" "a"; the second row has two units only
    char_ends, unit_lens = torch.tensor([[1, 3, 5, 7], [1, 2, 0, 0]]), torch.tensor([4, 2])

    found = unit_index(rows, tokenizer, char_ends, unit_lens)

    assert found.tolist() == [[2, 4], [2, 2]]
    assert torch.equal(unit_index(torch.tensor(rows), tokenizer, char_ends, unit_lens), found)


def test_no_units_and_no_positions_are_allowed(tokenizer):
    nothing = torch.zeros(2, 0, dtype=torch.int64)

    assert unit_index([[5], [6]], tokenizer, nothing, torch.tensor([0, 0])).tolist() == [[0], [0]]
    assert unit_index([[], []], tokenizer, nothing, torch.tensor([0, 0])).shape == (2, 0)


def test_token_by_token_gives_the_index_of_the_whole_row(tokenizer):
    draw = random.Random(0)
    for _ in range(20):
        text = " ".join(draw.choice(["the", "cat", "\u0c95", "sat", "that", "x"]) for _ in range(5))
        ids = tokenizer.encode(text, "en")
        ends = sorted(draw.sample(range(1, len(text) + 1), 4))
        given = torch.tensor([ends]), torch.tensor([4])

        whole = unit_index([ids], tokenizer, *given)[0].tolist()
        steps = [int(unit_index([ids[:end]], tokenizer, *given)[0, -1]) for end in range(1, len(ids) + 1)]

        assert whole == steps == sorted(whole)
        assert whole[-1] == 4


def test_the_common_script_is_counted_like_the_native_one(letters):
    _, tokenizer = load_llm(
        LLMConfig(source="tiny", script="common", hidden_size=32, num_heads=2), [" ", *letters]
    )
    ids = tokenizer.encode("\u0995\u0996 \u0997", "bn")

    assert characters_written(ids, tokenizer) == [0, 1, 2, 3, 4]


def random_ids(tokenizer, draw, count):
    """Tokens of words, whole characters as bytes, and bytes that are none."""
    broken = [tokenizer.special_id("<0xE0>"), tokenizer.special_id("<0xB2>")]
    ids = []
    while len(ids) < count:
        word = draw.choice(["the", "cat", "\u0c95\u0c96", "x", ""])
        ids += tokenizer.encode(word, "en") if word else draw.choices(broken, k=draw.randint(1, 3))
    return ids[:count]


@pytest.mark.parametrize("seed", range(5))
def test_a_count_that_goes_on_is_the_count_from_the_start(tokenizer, seed):
    draw = random.Random(seed)
    count, row = CharacterCount(tokenizer), []
    for _ in range(30):
        kept = draw.randint(0, len(row)) if draw.random() < 0.3 else len(row)
        row = row[:kept] + random_ids(tokenizer, draw, draw.randint(0, 4))
        given = [tokenizer.special_id("<|transcribe|>"), *row] if draw.random() < 0.2 else row

        assert count(given) == CharacterCount(tokenizer)(given)


def test_a_text_that_grows_is_decoded_once(tokenizer):
    seen = []

    def decode(ids):
        seen.append(len(ids))
        return backend.decode(ids)

    backend = tokenizer.hf.backend_tokenizer
    counted = SimpleNamespace(
        hf=SimpleNamespace(backend_tokenizer=SimpleNamespace(decode=decode)), special_id=tokenizer.special_id
    )
    ids = random_ids(tokenizer, random.Random(0), 200)
    count = CharacterCount(counted)

    for end in range(len(ids)):
        count(ids[:end])

    assert sum(seen) < 10 * len(ids)


def test_rows_of_a_batch_go_on_each_by_itself_and_shorter_ones_stay(tokenizer):
    progress = Progress(SimpleNamespace(layers=(0,)), tokenizer)
    in_characters = Progress(SimpleNamespace(layers=(0,), counts_characters=True), tokenizer)
    cat, sat = tokenizer.encode("the cat", "en"), tokenizer.encode("sat", "en")
    ends, lens = torch.tensor([[1, 3, 5, 7], [1, 2, 0, 0]]), torch.tensor([4, 2])

    for rows in ([cat[:1], sat], [cat, sat], [sat, cat], [cat, sat[:1]]):
        longest = max(map(len, rows))
        padded = [row + [tokenizer.pad_id] * (longest - len(row)) for row in rows]
        assert torch.equal(progress(rows, ends, lens), unit_index(padded, tokenizer, ends, lens))
        wanted = [characters_written(row, tokenizer) for row in padded]
        assert in_characters(torch.tensor(padded), ends, lens).tolist() == wanted
