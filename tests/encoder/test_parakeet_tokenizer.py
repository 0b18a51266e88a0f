"""SentencePiece models and tokenizer.json cut and join text in twelve languages alike."""

import io
import json
import random

import pytest
import sentencepiece
from tokenizers import Tokenizer as FastTokenizer

from maya_encoder.interop.parakeet_tokenizer import to_tokenizer_json
from maya_encoder.interop.parakeet_vocabulary import from_tokenizer_json
from maya_encoder.interop.sentencepiece_proto import (
    ModelKind,
    Piece,
    PieceKind,
    SentencePieceModel,
    parse_model,
    serialize_model,
)
from maya_encoder.tokenizer import BadTokenizer

TEXTS = {
    "as": "অসমীয়া ভাষা এটা ইণ্ডো-আৰ্য ভাষা",
    "bn": "আমার সোনার বাংলা আমি তোমায় ভালোবাসি",
    "en": "the quick brown fox doesn't jump over 12 lazy dogs",
    "gu": "ગુજરાતી ભાષા ભારતની છે",
    "hi": "नमस्ते दुनिया, यह हिन्दी है।",
    "kn": "ಕನ್ನಡ ಭಾಷೆ ದ್ರಾವಿಡ ಭಾಷೆ",
    "ml": "മലയാളം സംസാരിക്കുന്നവർ",
    "mr": "मराठी भाषा महाराष्ट्रात बोलली जाते",
    "or": "ଓଡ଼ିଆ ଭାଷା ଓଡ଼ିଶାର ଭାଷା",
    "pa": "ਪੰਜਾਬੀ ਭਾਸ਼ਾ ਪੰਜਾਬ ਦੀ",
    "ta": "தமிழ் மொழி செம்மொழி",
    "te": "తెలుగు భాష మధురమైనది",
}
ODD = ["", "  ", "a  b   c ", " lead", "汉字 漢漢 x", "x\ty\nz", "क\u200cष क\u200dष", "aaaaaaa", "e\u0301 é"]
OPTIONS = [
    {},
    {"normalization_rule_name": "nmt_nfkc"},
    {"byte_fallback": True},
    {"bos_id": 1, "eos_id": 2},
    {"user_defined_symbols": ["1"]},
    {"remove_extra_whitespaces": False},
    {"add_dummy_prefix": False},
    {"split_by_whitespace": False},
]


def train(kind, **options):
    written = io.BytesIO()
    usual = {"normalization_rule_name": "identity", "bos_id": -1, "eos_id": -1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(TEXTS.values()) * 10),
        model_writer=written,
        model_type=kind,
        vocab_size=450,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=3,
        **{**usual, **options},
    )
    return written.getvalue()


def shuffled_texts():
    words = [word for text in TEXTS.values() for word in text.split()]
    letters = [*map(chr, range(0x900, 0xD80)), *"abc   "]
    chosen = random.Random(0)
    mixed = [" ".join(chosen.sample(words, 6)) for _ in range(50)]
    return [*TEXTS.values(), *ODD, *mixed, *("".join(chosen.choices(letters, k=30)) for _ in range(50))]


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "plain")
def test_text_is_cut_alike_in_both_and_after_the_way_back(kind, options):
    proto = train(kind, **options)
    own = sentencepiece.SentencePieceProcessor(model_proto=proto)
    fast = FastTokenizer.from_str(json.dumps(to_tokenizer_json(proto, "<pad>")))
    assert fast.token_to_id("<pad>") == own.vocab_size()
    back = from_tokenizer_json(json.loads(fast.to_str()), own.vocab_size() + 1, own.vocab_size())
    again = sentencepiece.SentencePieceProcessor(model_proto=back.proto)
    assert back.notes == []
    for text in shuffled_texts():
        ids = own.encode(text)
        assert fast.encode(text).ids == ids, text
        assert again.encode(text) == ids, text
        assert fast.decode(ids) == again.decode([i for i in ids if not own.is_unknown(i)]) or 0 in ids, text


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
def test_any_tokens_are_joined_alike(kind):
    proto = train(kind, bos_id=1, eos_id=2)
    own = sentencepiece.SentencePieceProcessor(model_proto=proto)
    fast = FastTokenizer.from_str(json.dumps(to_tokenizer_json(proto, "<pad>")))
    chosen = random.Random(1)
    space = own.piece_to_id("\u2581")
    for _ in range(200):
        ids = [space] * chosen.randint(0, 2) + chosen.choices(range(own.vocab_size()), k=chosen.randint(0, 8))
        text_ids = [i for i in ids if not (own.is_unknown(i) or own.is_control(i))]
        assert fast.decode(ids, skip_special_tokens=True) == own.decode(text_ids)


def test_texts_of_twelve_languages_come_back_whole():
    proto = train("bpe")
    fast = FastTokenizer.from_str(json.dumps(to_tokenizer_json(proto, "<blank>")))
    for text in TEXTS.values():
        assert fast.decode(fast.encode(text).ids) == text


def test_a_model_file_is_read_and_written_without_protobuf():
    model = parse_model(train("unigram", normalization_rule_name="nmt_nfkc", byte_fallback=True))
    assert model.kind is ModelKind.UNIGRAM
    assert model.byte_fallback
    assert len(model.charsmap) > 1000
    assert model.pieces[model.unk_id] == Piece("<unk>", 0.0, PieceKind.UNKNOWN)
    assert parse_model(serialize_model(model)) == model


@pytest.mark.parametrize("damaged", [b"", b"abcdefgh", b"\x0a\xff\xff", b"\x0a\x03\x0a\x01\xff"])
def test_other_bytes_are_no_model(damaged):
    with pytest.raises(BadTokenizer, match="are no SentencePiece model"):
        parse_model(damaged)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": ModelKind.WORD}, "of the kind WORD has no counterpart"),
        ({"whitespace_as_suffix": True}, "sets `treat_whitespace_as_suffix`"),
        ({"escape_whitespaces": False}, "sets `escape_whitespaces`"),
    ],
)
def test_models_that_tokenizer_json_cannot_express_are_named(change, message):
    model = SentencePieceModel([Piece("<unk>", kind=PieceKind.UNKNOWN), Piece("a")], **change)
    with pytest.raises(BadTokenizer, match=message):
        to_tokenizer_json(serialize_model(model), "<pad>")


def bpe_json(**changes):
    vocab = {"<unk>": 0, "\u2581": 1, "a": 2, "b": 3, "ab": 4}
    model = {"type": "BPE", "unk_token": "<unk>", "vocab": vocab, "merges": [["a", "b"]]}
    return {"model": model, "pre_tokenizer": {"type": "Metaspace"}, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"type": "WordPiece"}}, "must be BPE or Unigram .* got 'WordPiece'"),
        ({"pre_tokenizer": {"type": "ByteLevel"}}, "the pre-tokenizer ByteLevel"),
        ({"normalizer": {"type": "Lowercase"}}, "the normaliser Lowercase"),
        ({"decoder": {"type": "WordPiece"}}, "the decoder WordPiece"),
        ({"decoder": {"type": "Replace", "pattern": {"String": "x"}}}, "replaces .*'x'"),
        (
            {"model": {"type": "BPE", "vocab": {a: i for i, a in enumerate("abcde")}}},
            "names no unknown token",
        ),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "dropout": 0.1}}, r"`model\.dropout`.* is 0\.1"),
    ],
)
def test_tokenizers_that_sentencepiece_cannot_express_are_named(changes, message):
    with pytest.raises(BadTokenizer, match=message):
        from_tokenizer_json(bpe_json(**changes), 6, 5)


def test_merges_that_leave_a_way_out_are_told():
    tokenizer = bpe_json()
    tokenizer["model"]["vocab"] |= {"ba": 5, "aba": 6}
    tokenizer["model"]["merges"] += [["b", "a"], ["ab", "a"]]
    notes = from_tokenizer_json(tokenizer, 8, 7).notes
    assert len(notes) == 1
    assert "'aba'" in notes[0]


def test_a_row_without_a_token_gets_a_piece_that_is_no_text():
    proto = from_tokenizer_json(bpe_json(), 9, 8).proto
    own = sentencepiece.SentencePieceProcessor(model_proto=proto)
    assert own.vocab_size() == 8
    assert own.is_control(6)
    assert own.decode([2, 6, 4]) == "aab"
