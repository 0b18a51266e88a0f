"""Column names are not promised by anyone: known aliases of each, and a mapping that a config may give.

The language has no column here: the folder `lang=xx` states it.
"""

from collections.abc import Iterable, Mapping

LOCATOR_ALIASES = {
    "id": ("segment_id", "id", "utt_id", "utterance_id", "cut_id", "uid", "key"),
    "member": ("member", "filename", "file_name", "path", "key", "name", "file"),
    "offset": ("offset", "byte_offset", "data_offset", "offset_data"),
    "size": ("size", "byte_size", "length", "num_bytes", "data_size", "nbytes"),
}

METADATA_ALIASES = {
    "id": ("segment_id", "id", "utt_id", "utterance_id", "cut_id", "uid", "key"),
    "text": ("text", "transcript", "transcription", "sentence", "raw_text", "normalized_text"),
    "duration": ("duration", "duration_s", "duration_sec", "audio_duration", "seconds", "dur"),
    "num_samples": ("num_samples", "samples", "n_samples", "num_frames"),
    "sampling_rate": ("sampling_rate", "sample_rate", "sr", "samplerate"),
    "speaker": ("speaker", "speaker_id", "spk", "spk_id", "client_id"),
    "domain": ("domain", "scenario", "category", "genre"),
    "corpus": ("corpus", "source", "dataset", "source_dataset"),
}

COLUMNS = tuple(dict.fromkeys((*LOCATOR_ALIASES, *METADATA_ALIASES)))


def resolve(
    present: Iterable[str], aliases: Mapping[str, tuple[str, ...]], chosen: Mapping[str, str]
) -> dict[str, str]:
    """Return our name -> the file's name, for every column that is there; `chosen` overrules the aliases."""
    names = set(present)
    found = {}
    for column, candidates in aliases.items():
        candidates = (chosen[column],) if column in chosen else candidates
        if match := next((name for name in candidates if name in names), None):
            found[column] = match
    return found
