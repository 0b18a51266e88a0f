"""Column names are not promised by anyone: known aliases of each, and a mapping that a config may give."""

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
"""Of the metadata of final-export shards, whose folder `lang=xx` states the language."""

TEXTS = (*METADATA_ALIASES["text"], "normalized", "verbatim", "raw_transcription")

TABLE_ALIASES = METADATA_ALIASES | {
    "text": TEXTS,
    "id": (
        *METADATA_ALIASES["id"],
        *("audio_filepath", "audio_file", "audio_path", "fname", "file_name", "filename", "path", "file"),
        *("name", "wav", "clip", "audio"),
    ),
    "lang": ("lang", "language", "locale", "lang_code", "language_code", "source_lang"),
}
"""Of transcript tables."""

RECORDING_ALIASES = METADATA_ALIASES | {
    "text": TEXTS,
    "audio": ("audio", "audio_filepath", "speech", "recording", "wav", "flac", "mp3", "bytes"),
    "lang": TABLE_ALIASES["lang"],
}
"""Of parquet files with the sound inside."""

TOKEN_ALIASES = {
    "id": METADATA_ALIASES["id"],
    "tokens": ("tokens", "xcodec2_tokens", "codes", "xcodec2", "xcodec2_codes", "token_ids"),
}
"""Of `xcodec2_tokens.parquet`."""

COLUMNS = tuple(dict.fromkeys((*LOCATOR_ALIASES, *METADATA_ALIASES, *TOKEN_ALIASES)))
"""What a config of final-export shards may map."""
TABLE_COLUMNS = tuple(TABLE_ALIASES)
RECORDING_COLUMNS = tuple(RECORDING_ALIASES)


def check_columns(chosen: Iterable[str], known: tuple[str, ...]) -> None:
    """Refuse a mapping of a column that there is not.

    Raises:
        ValueError: The message names it, and what may be mapped.
    """
    for column in chosen:
        if column not in known:
            raise ValueError(f"`columns` may map {', '.join(known)}, got {column!r}")


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
