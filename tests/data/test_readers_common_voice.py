import numpy as np
import pytest
import soundfile

from maya_data.readers.common_voice import CommonVoice

HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment\n"


def line(name, sentence, locale="hi"):
    return f"c0ffee\t{name}\t{sentence}\t2\t0\ttwenties\tmale_masculine\t\t{locale}\t\n"


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "hi/clips").mkdir(parents=True)
    for number in range(3):
        samples = np.random.default_rng(number).normal(0, 2000, 3200 * (number + 1)).astype(np.int16)
        soundfile.write(tmp_path / f"hi/clips/common_voice_hi_{number}.mp3", samples, 32000, format="MP3")
    sentences = ['"एक', "दो", 'ती"न']
    text = HEADER + "".join(line(f"common_voice_hi_{n}.mp3", said) for n, said in enumerate(sentences))
    (tmp_path / "hi/train.tsv").write_text(text, "utf-8")
    return tmp_path


def test_a_stray_quote_eats_no_line(corpus):
    rows = list(CommonVoice(root=str(corpus / "hi")).build())
    assert [(row["id"], row["text"]) for row in rows] == [
        ("common_voice_hi_0", '"एक'),
        ("common_voice_hi_1", "दो"),
        ("common_voice_hi_2", 'ती"न'),
    ]
    assert (rows[0]["shard"], rows[0]["lang"], rows[0]["speaker"]) == (
        "clips/common_voice_hi_0.mp3",
        "hi",
        "c0ffee",
    )
    assert (rows[0]["corpus"], rows[0]["gender"]) == ("common_voice", "male_masculine")


def test_lengths_come_from_the_clips(corpus):
    reader = CommonVoice(root=str(corpus))
    rows = list(reader.build())
    assert rows[0]["shard"] == "hi/clips/common_voice_hi_0.mp3"
    for number, row in enumerate(rows):
        assert row["sampling_rate"] == 32000
        assert row["duration"] == pytest.approx(0.1 * (number + 1), abs=0.08)
        samples, rate = reader.read_audio(row)
        assert len(samples) / rate == pytest.approx(row["duration"], abs=0.01)


def test_lengths_come_from_clip_durations_where_they_are_there(corpus):
    text = "clip\tduration[ms]\n" + "".join(f"common_voice_hi_{n}.mp3\t{1000 * n + 500}\n" for n in range(3))
    (corpus / "hi/clip_durations.tsv").write_text(text)
    rows = list(CommonVoice(root=str(corpus), sampling_rate=32000).build())
    assert [row["duration"] for row in rows] == [0.5, 1.5, 2.5]


def test_damaged_lines_and_missing_clips_are_named(corpus):
    with open(corpus / "hi/train.tsv", "a", encoding="utf-8") as file:
        file.write("c0ffee\tshort.mp3\tहै\n" + line("gone.mp3", "है"))
    rows, dropped = CommonVoice(root=str(corpus)).read_shard("hi/train.tsv")
    assert len(rows) == 3
    assert dropped == {
        "damaged line: the usual number of columns is 10, got 3 (hi/train.tsv line 5)": 1,
        "no audio for the transcript (hi/train.tsv line 6: gone.mp3)": 1,
    }


def test_locale_with_a_region_is_its_language(corpus):
    (corpus / "hi").rename(corpus / "pa-IN")
    text = (corpus / "pa-IN/train.tsv").read_text("utf-8").replace("\thi\t", "\tpa-IN\t")
    (corpus / "pa-IN/train.tsv").write_text(text, "utf-8")
    assert {row["lang"] for row in CommonVoice(root=str(corpus)).build()} == {"pa"}


def test_split_that_is_not_there_is_named(corpus):
    with pytest.raises(ValueError, match=r"no file matches split=\*\*/test\.tsv under"):
        CommonVoice(root=str(corpus), split="test").shards()
    with pytest.raises(ValueError, match="`split` is the name of a table such as train, got 'a/b'"):
        CommonVoice(split="a/b")
