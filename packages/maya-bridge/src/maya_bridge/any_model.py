"""One door to what transcribes: the folder of a SpeechLLM, or of an acoustic model alone."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from maya_bridge.decoding.options import DecodeOptions
from maya_bridge.writing import AUTO, known_languages
from maya_encoder.audio import Audio, load_audio
from maya_encoder.hypothesis import Hypothesis

if TYPE_CHECKING:
    from maya_bridge.speech_llm import SpeechLLM
    from maya_bridge.transcribe_files.int8 import Saving
    from maya_encoder.acoustic_model import AcousticModel

ARRAY_RATE = 16000
"""Samples a second of arrays that are given to `AnyModel.transcribe`."""
CHUNK = 30.0
"""Seconds; a head hears longer audio in pieces, for the memory of attention grows with the square."""


class AnyModel(ABC):
    """A loaded model that says what it can do; for one thread at a time."""

    def __init__(self, acoustic: "AcousticModel", folder: Path, saving: "Saving | None" = None) -> None:
        self.acoustic = acoustic
        self.folder = folder
        self.saving = saving
        """What int8 saved; None where it was not asked for."""

    @property
    @abstractmethod
    def decodes(self) -> tuple[str, ...]:
        """What `decode` may be, the default first."""

    @property
    @abstractmethod
    def langs(self) -> tuple[str, ...]:
        """Languages that can be named; empty where the model knows none."""

    def check(self, lang: str, decode: str | None = None, hotwords: Sequence[str] = ()) -> None:
        """Refuse what this model cannot do, before any audio is read.

        Raises:
            ValueError: a language, way of decoding or hotword; one sentence.
        """
        decode = self._decode(decode)
        if isinstance(hotwords, str):
            raise ValueError(f"`hotwords` must be a list of words, got the string {hotwords!r}")
        self._check(lang, decode, tuple(hotwords))

    def transcribe(
        self,
        audio: Sequence[Audio],
        langs: str | Sequence[str],
        *,
        decode: str | None = None,
        batch_size: int = 16,
        hotwords: Sequence[str] = (),
        words: bool = False,
    ) -> list[Hypothesis]:
        """Return a hypothesis for each item, in their order.

        Args:
            audio: files, or arrays (S,) of 16 kHz, floating in [-1, 1] or int16.
            langs: one language for all, or one each; `auto` where the model can tell.
            decode: of `decodes`; None for the first.
            batch_size: utterances, or pieces of long ones, decoded together.
            hotwords: names and terms that may be said: for the prompt of the LLM, or for a search of a head.
            words: fill `words` of the hypotheses, with start, end and confidence.

        Raises:
            BadAudio: an item that is no audio.
            ValueError: what `check` refuses, or not one language for each item.
        """
        items = list(audio)
        of_each = [langs] * len(items) if isinstance(langs, str) else list(langs)
        if len(of_each) != len(items):
            raise ValueError(f"`langs` must be one or one for each of {len(items)}, got {len(of_each)}")
        decode = self._decode(decode)
        for lang in sorted({langs} if isinstance(langs, str) else set(langs)):
            self.check(lang, decode, hotwords)
        found = self._transcribe(items, of_each, decode, batch_size, tuple(hotwords), words)
        return found if words else [replace(one, words=[]) for one in found]

    @abstractmethod
    def _check(self, lang: str, decode: str, hotwords: tuple[str, ...]) -> None:
        """`check`, of a `decode` that there is."""

    @abstractmethod
    def _transcribe(
        self,
        items: list[Audio],
        langs: list[str],
        decode: str,
        batch_size: int,
        hotwords: tuple[str, ...],
        words: bool,
    ) -> list[Hypothesis]:
        """`transcribe`, all of it checked."""

    def _decode(self, decode: str | None) -> str:
        if decode is None:
            return self.decodes[0]
        if decode not in self.decodes:
            llm = "" if isinstance(self, LLMModel) else ", which holds no LLM"
            known = ", ".join(self.decodes)
            raise ValueError(f"`decode` must be one of {known} for {self.folder}{llm}, got {decode}")
        return decode

    @property
    def _heads(self) -> tuple[str, ...]:
        """The heads, the best one first."""
        default = self.acoustic.default_head
        return (default, *(name for name in self.acoustic.heads if name != default))

    def _check_head(self, lang: str, head: str, hotwords: tuple[str, ...]) -> None:
        more: dict[str, Any] = {"phrases": hotwords} if hotwords else {}
        self.acoustic.transcribe([], lang=None if lang == AUTO else lang, head=head, **more)

    def _of_head(
        self, items: list[Audio], langs: list[str], head: str, batch_size: int, hotwords: tuple[str, ...]
    ) -> list[Hypothesis]:
        """What a head of the acoustic model writes."""
        if AUTO in langs and set(langs) != {AUTO}:
            raise ValueError(f"`langs` must be auto for all or for none where {head} writes, got both")
        more: dict[str, Any] = {"phrases": hotwords} if hotwords else {}
        return self.acoustic.transcribe(
            items,
            sampling_rate=ARRAY_RATE,
            langs=None if AUTO in langs else langs,
            head=head,
            batch_size=batch_size,
            chunk_duration=CHUNK,
            **more,
        )


class HeadsModel(AnyModel):
    """The folder of an acoustic model: one of its heads writes."""

    @property
    def decodes(self) -> tuple[str, ...]:
        """The heads."""
        return self._heads

    @property
    def langs(self) -> tuple[str, ...]:
        """The acoustic model's languages."""
        return tuple(self.acoustic.langs)

    def _check(self, lang: str, decode: str, hotwords: tuple[str, ...]) -> None:
        self._check_head(lang, decode, hotwords)

    def _transcribe(
        self,
        items: list[Audio],
        langs: list[str],
        decode: str,
        batch_size: int,
        hotwords: tuple[str, ...],
        words: bool,
    ) -> list[Hypothesis]:
        return self._of_head(items, langs, decode, batch_size, hotwords)


class LLMModel(AnyModel):
    """The folder of a SpeechLLM: its LLM writes, or a head of its acoustic model."""

    def __init__(self, model: "SpeechLLM", folder: Path, saving: "Saving | None" = None) -> None:
        super().__init__(model.acoustic, folder, saving)
        self.speech_llm = model

    @property
    def decodes(self) -> tuple[str, ...]:
        """The LLM's searches, then the heads."""
        drafted = ("speculative",) if "ctc" in self.acoustic.heads else ()
        return ("greedy", *drafted, "beam", *self._heads)

    @property
    def langs(self) -> tuple[str, ...]:
        """Languages that both halves know."""
        return tuple(known_languages(self.speech_llm))

    def _check(self, lang: str, decode: str, hotwords: tuple[str, ...]) -> None:
        if decode in self.acoustic.heads:
            return self._check_head(lang, decode, hotwords)
        if hotwords and not self.speech_llm.llm_tokenizer.takes_hotwords:
            self.speech_llm.llm_tokenizer.context_id("<|ctx|>")  # which says so
        self.speech_llm.transcribe([], lang)
        return None

    def _transcribe(
        self,
        items: list[Audio],
        langs: list[str],
        decode: str,
        batch_size: int,
        hotwords: tuple[str, ...],
        words: bool,
    ) -> list[Hypothesis]:
        if decode in self.acoustic.heads:
            return self._of_head(items, langs, decode, batch_size, hotwords)
        rate = self.acoustic.frontend.sampling_rate
        if rate != ARRAY_RATE:
            items = [
                item if isinstance(item, str | Path) else load_audio(item, rate, ARRAY_RATE) for item in items
            ]
        options = DecodeOptions(hotwords=hotwords, words=words)
        return list(self.speech_llm.transcribe(items, langs, batch_size, decode, options))


def _check_device(device: str | torch.device) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # not compiled in, not there, or no device's name
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(
            f"`device` must be one that torch can use here, such as cpu, got {device} ({reason})"
        ) from None


def open_model(folder: str | Path, device: str | torch.device = "cpu", int8: bool = False) -> AnyModel:
    """Open the folder of a SpeechLLM or of an acoustic model, in evaluation mode.

    Args:
        folder: of `save`.
        device: where the model runs.
        int8: quantise linear layers, on the CPU alone; see `AnyModel.saving`.

    Raises:
        BadCheckpoint: no model, or one that does not fit this version.
        ValueError: int8 on another device than the CPU, or a device that there is not.
    """
    folder = Path(folder)
    if int8 and not str(device).startswith("cpu"):
        raise ValueError(f"`int8` must be run on the CPU, got device {device}")
    _check_device(device)
    if (folder / "llm").is_dir():
        from maya_bridge.checkpoint import load

        model = load(folder, device)
        return LLMModel(model, folder, _quantised(model) if int8 else None)
    from maya_encoder.checkpoint import load as load_acoustic

    acoustic = load_acoustic(folder, device=device)
    return HeadsModel(acoustic, folder, _quantised(acoustic) if int8 else None)


def _quantised(model: torch.nn.Module) -> "Saving":
    from maya_bridge.transcribe_files.int8 import quantise

    return quantise(model)
