"""A driver for the eSpeak NG library that the package espeakng-loader carries.

The library is global state: one process speaks at a time, and what it returns depends on all calls before.
The same calls in the same order in a fresh process give the same samples.
"""

import ctypes
import functools
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maya_data.synth.errors import MissingExtra, SynthesisError

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples come through the callback, before espeak_Synth returns
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_UTF8 = 1
_INDIC = map(chr, range(0x900, 0xD80))
_NUKTA_LETTERS = {pair: char for char in _INDIC if len(pair := unicodedata.normalize("NFC", char)) == 2}
_LETTERS = {"as": {"\u09dc": "\u09f0"}}  # Assamese RRA sounds like RA; the rules have no RRA
_WORDS = {"as": {"\u09a8": "\u09a8\u0985"}}  # "nine" is one letter, which is read by its name
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def data_folder() -> Path:
    """The folder espeak-ng-data, where voices and dictionaries are."""
    return Path(_loader().get_data_path())


class Espeak:
    """The library, initialised; its sampling rate is `sampling_rate`. Get it with `espeak()`."""

    def __init__(self) -> None:
        self._chunks: list[NDArray[np.int16]] = []
        self._library: Any = ctypes.CDLL(_loader().get_library_path())
        self._library.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int),
            *(ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p),
        ]
        parent = str(data_folder().parent).encode()
        self.sampling_rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, parent, 0))
        if self.sampling_rate <= 0:
            raise SynthesisError(f"eSpeak NG cannot read its data under {data_folder()}")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # breathy voices take the clock as seed
        self._callback = _CALLBACK(self._collect)  # the library keeps a pointer: hold the object
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, *, rate: int, pitch: int) -> NDArray[np.int16]:
        """The samples (S,) of `text` in `voice`, such as "hi+f2".

        A variant that does not exist is not an error here: the library speaks with the plain voice.
        `voices.check` is what finds it.

        Args:
            text: What to say.
            voice: Language code, or language and variant joined by a plus sign.
            rate: Words a minute, 80 to 450.
            pitch: 0 to 100.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise SynthesisError(f"eSpeak NG has no voice {voice!r}")
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, 50)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        data = spoken_form(text, voice.split("+")[0]).encode() + b"\0"
        if self._library.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None):
            raise SynthesisError(f"eSpeak NG refused {text!r} with voice {voice!r}")
        self._library.espeak_Synchronize()
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)

    def _collect(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        return 0


def spoken_form(text: str, lang: str) -> str:
    """`text` in the spelling that eSpeak NG can read.

    NFC splits a letter with nukta in two; the Bengali and Assamese rules know only the one code point, and
    spell the word letter by letter or drop a syllable without it.
    """
    for split, whole in _NUKTA_LETTERS.items():
        text = text.replace(split, whole)
    for letter, sounds_like in _LETTERS.get(lang, {}).items():
        text = text.replace(letter, sounds_like)
    words = _WORDS.get(lang, {})
    return " ".join(words.get(word, word) for word in text.split(" "))


@functools.cache
def espeak() -> Espeak:
    """The one initialised library of this process."""
    return Espeak()


def _loader() -> Any:
    try:
        import espeakng_loader
    except ImportError:
        raise MissingExtra("espeakng-loader") from None
    return espeakng_loader
