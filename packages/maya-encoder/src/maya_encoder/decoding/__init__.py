"""Encoder output to tokens with times: CTC and transducers, greedy and beam, and what comes after.

`decode` serves every head. `words_of` makes words with seconds of its result, `align` places a given text,
`plan_chunks` and `merge_chunks` cut long audio and join what was heard.
"""

from maya_encoder.decoding.align import align
from maya_encoder.decoding.boosting import boost_phrases
from maya_encoder.decoding.decoded import DecodedTokens
from maya_encoder.decoding.dispatch import decode, decode_nbest
from maya_encoder.decoding.fusion import Scorer
from maya_encoder.decoding.long_audio import Chunk, merge_chunks, plan_chunks
from maya_encoder.decoding.ngram_lm import load_lm
from maya_encoder.decoding.options import DecodingOptions
from maya_encoder.decoding.words import words_of

__all__ = [
    "Chunk",
    "DecodedTokens",
    "DecodingOptions",
    "Scorer",
    "align",
    "boost_phrases",
    "decode",
    "decode_nbest",
    "load_lm",
    "merge_chunks",
    "plan_chunks",
    "words_of",
]
