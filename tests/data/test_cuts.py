import shutil

import numpy as np
import pytest

from maya_data.audio.fetch import read_audio
from maya_data.indexing.build import build_index
from maya_data.readers.final_export import FinalExport


def test_cuts_carry_audio_and_what_is_known(index):
    cuts = list(index.to_cuts().subset(first=5))
    for i, cut in enumerate(cuts):
        segment = index.row(i)
        audio = cut.load_audio()
        assert np.round(audio[0] * 32768).astype(np.int16).tolist() == read_audio(index, i).tolist()
        assert (cut.id, cut.duration) == (segment.id, pytest.approx(segment.duration))
        (supervision,) = cut.supervisions
        assert (supervision.text, supervision.language, supervision.speaker) == (
            segment.text,
            segment.lang,
            segment.speaker,
        )
        assert supervision.custom["corpus"] == "tiny"


def test_segments_of_a_long_file_become_cuts_of_their_length(index, monkeypatch):
    whole = read_audio(index, 0)
    monkeypatch.setitem(index.columns, "start", np.full(len(index), 160, np.uint32))
    monkeypatch.setitem(index.columns, "duration", np.full(len(index), 0.1, np.float32))
    cut = next(iter(index.to_cuts()))
    assert cut.duration == pytest.approx(0.1)
    assert np.round(cut.load_audio()[0] * 32768).astype(np.int16).tolist() == whole[160:1760].tolist()


def test_a_segment_without_a_header_is_left_out(corpus, tmp_path):
    shutil.copytree(corpus / "lang=ta", tmp_path / "root" / "lang=ta")
    made = build_index(FinalExport(root=str(tmp_path / "root")), tmp_path / "index")
    segment = made.row(1)
    path = tmp_path / "root" / segment.shard
    content = bytearray(path.read_bytes())
    content[segment.offset : segment.offset + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"ta-000-001 at byte \d+ has no readable header"):
        ids = [cut.id for cut in made.to_cuts()]
    assert len(ids) == 9
    assert segment.id not in ids
