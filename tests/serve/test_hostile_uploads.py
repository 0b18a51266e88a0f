"""What people and programs send by mistake or with intent; the server answers and goes on."""

import io
import os
import socket
import struct
import subprocess
import tempfile
import threading

import numpy as np
import pytest
import soundfile

from maya_bridge.transcribe_files.ffmpeg import program as ffmpeg


@pytest.fixture(autouse=True)
def the_server_goes_on(server, said):
    yield
    assert server.ask(said(8)).json["text"] == "number 8"
    assert server.service.active == 0


def header_claims(data: bytes, claimed: int) -> bytes:
    """A WAV file whose header tells of as many bytes of samples."""
    return (
        data[:4]
        + struct.pack("<I", claimed & 0xFFFFFFFF)
        + data[8:40]
        + struct.pack("<I", claimed)
        + data[44:]
    )


def flac_of(sounds, seconds: float, rate: int = 16000) -> bytes:
    return sounds.wav(np.zeros(round(seconds * rate), dtype=np.float32), rate, "FLAC")


def claims_hours(flac: bytes, samples: int) -> bytes:
    """A FLAC file whose stream information tells of as many samples."""
    packed = int.from_bytes(flac[18:26], "big") >> 36 << 36 | samples
    return flac[:18] + packed.to_bytes(8, "big") + flac[26:]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "invalid_audio"),
        (b"RIFF", 400, "invalid_audio"),
        (b"This is a text, not audio. " * 50, 400, "invalid_audio"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 400, "invalid_audio"),
        (bytes(1000), 400, "invalid_audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 400, "invalid_audio"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), 400, "invalid_audio"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(100), 400, "invalid_audio"),
        (b"OggS" + bytes(200), 400, "invalid_audio"),
        (b"fLaC" + bytes(200), 400, "invalid_audio"),
    ],
)
def test_what_is_no_audio_is_refused(server, data, status, code):
    got = server.ask(data)
    assert (got.status, got.error["code"], got.error["param"]) == (status, code, "file")


def test_a_file_without_samples_is_refused(server, sounds):
    assert server.ask(sounds.wav(np.zeros(0, dtype=np.float32))).status == 400


def test_a_truncated_file_is_read_as_far_as_it_goes(server, said):
    assert server.ask(said(9, 2.0)[:20000]).json["text"] == "number 9"


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 2**31, 0x7FFFFFF0])
def test_a_header_that_claims_gigabytes_is_not_believed(server, said, claimed):
    assert server.ask(header_claims(said(9), claimed)).json["text"] == "number 9"


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e30])
def test_samples_that_are_no_sound_are_refused(server, sounds, odd):
    samples = sounds.level(3)
    samples[1000] = odd
    got = server.ask(sounds.wav(samples, subtype="FLOAT"))
    assert (got.status, got.error["code"]) == (400, "invalid_audio")


def test_ten_hours_are_refused_by_their_header(server, sounds):
    bomb = claims_hours(flac_of(sounds, 1), 36000 * 16000)
    got = server.ask(bomb)
    assert (got.status, got.error["code"]) == (413, "audio_too_long")
    assert "36000 s" in got.error["message"]


def test_hours_packed_into_a_small_file_are_refused(server, sounds):
    bomb = flac_of(sounds, 600)
    assert len(bomb) < 200_000
    assert server.ask(bomb).status == 413


def test_hours_behind_a_header_that_hides_them_are_refused_while_they_are_read(server, sounds):
    assert server.ask(claims_hours(flac_of(sounds, 300), 0)).status in (400, 413)
    assert server.ask(claims_hours(flac_of(sounds, 300), 16000)).status in (200, 413)


def test_a_rate_that_makes_hours_of_a_few_samples_is_refused(server, said):
    data = said(3)
    for rate in (0, 1, 100, 2**31 - 1):
        got = server.ask(data[:24] + struct.pack("<I", rate) + data[28:])
        assert got.status == 400, rate


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "..\\..\\x.wav", "a\x00b.wav", "x" * 5000, ""]
)
def test_names_are_never_used(server, said, name):
    before = set(os.listdir(tempfile.gettempdir()))
    got = server.ask(said(9), name=name)
    assert got.status in (200, 400)
    new = set(os.listdir(tempfile.gettempdir())) - before
    assert not [one for one in new if "wav" in one or "passwd" in one]


def test_no_file_is_left_and_none_is_seen_meanwhile(server, said, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []
    server.model.going.clear()
    thread = threading.Thread(target=server.ask, args=(said(9, 100),))  # more than a megabyte
    thread.start()
    while not server.service.batcher._jobs and thread.is_alive():
        seen += os.listdir(tmp_path)
    server.model.going.set()
    thread.join()
    assert seen == []
    assert os.listdir(tmp_path) == []


def test_a_body_that_is_too_long_is_refused_unread(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 2147483648\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        )
        assert b" 413 " in raw.recv(1000)


def test_a_body_that_hides_its_length_is_refused_where_it_is_too_long(server, sounds):
    def endless():
        yield sounds.form(b"", {}).split(b"--hear-this--")[0] + b"--hear-this\r\n"
        yield b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(6):
            yield bytes(2**20)

    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=hear-this\r\n\r\n"
        )
        try:
            for part in endless():
                raw.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        except OSError:
            pass  # the server hung up
        else:
            assert b" 413 " in raw.recv(1000)


@pytest.mark.parametrize(
    "kind", ["application/json", "audio/wav", "text/plain", "", "application/x-www-form-urlencoded"]
)
def test_another_content_type_is_refused(server, said, kind):
    got = server.request("POST", "/v1/audio/transcriptions", said(1), Content_Type=kind)
    assert (got.status, got.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"--b\r\n", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"]
)
def test_a_damaged_form_is_refused(server, body):
    got = server.request(
        "POST", "/v1/audio/transcriptions", body, Content_Type="multipart/form-data; boundary=b"
    )
    assert got.status == 400
    assert got.error["type"] == "invalid_request_error"


def test_a_form_without_boundary_is_refused(server):
    got = server.request("POST", "/v1/audio/transcriptions", b"x", Content_Type="multipart/form-data")
    assert got.status == 400


def test_a_request_without_a_file_or_with_a_text_for_one_is_refused(server):
    assert server.ask(None).error["param"] == "file"
    assert server.ask(None, file="hello").error["param"] == "file"


def test_a_giant_field_is_refused(server, said):
    assert server.ask(said(1), prompt="x" * 100_000).status == 400


def test_what_the_model_cannot_bear_is_told_without_its_secrets(server, said):
    got = server.ask(said(13))
    assert (got.status, got.error["type"]) == (500, "server_error")
    assert b"secret" not in got.content


def test_any_rate_and_many_channels_are_heard(server, sounds):
    for rate, channels in ((8000, 1), (44100, 2), (48000, 8), (96000, 1)):
        samples = np.full((rate // 2, channels), 100 / 4000, dtype=np.float32)
        assert server.ask(sounds.wav(samples, rate)).json["text"] == "number 100"


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3"])
def test_packed_formats_are_heard(server, sounds, form):
    tone = (0.3 * np.sin(np.arange(16000) / 5)).astype(np.float32)
    got = server.ask(sounds.wav(tone, 16000, form, None))
    assert got.status == 200


@pytest.fixture
def m4a(tmp_path):
    program = ffmpeg()
    if program is None:
        pytest.skip("no ffmpeg")
    soundfile.write(tmp_path / "a.wav", np.full(16000, 0.1), 16000)
    subprocess.run(
        [program, "-v", "error", "-i", tmp_path / "a.wav", "-c:a", "aac", tmp_path / "a.m4a"], check=True
    )
    return (tmp_path / "a.m4a").read_bytes()


def test_m4a_is_heard_through_ffmpeg(server, m4a):
    assert server.ask(m4a, response_format="verbose_json").json["duration"] == pytest.approx(1, abs=0.1)


@pytest.mark.skipif(ffmpeg() is None, reason="there is no ffmpeg")
def test_hours_packed_into_m4a_are_refused(server, tmp_path):
    silence = ["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "200", "-b:a", "8k"]
    subprocess.run([ffmpeg(), "-v", "error", *silence, tmp_path / "a.m4a"], check=True)
    got = server.ask((tmp_path / "a.m4a").read_bytes())
    assert (got.status, got.error["code"]) == (413, "audio_too_long")


@pytest.mark.skipif(ffmpeg() is None, reason="there is no ffmpeg")
def test_a_damaged_m4a_is_told_without_the_servers_paths(server, m4a):
    got = server.ask(m4a[: len(m4a) // 2])
    assert (got.status, got.error["code"]) == (400, "invalid_audio")
    assert "/dev" not in got.error["message"]
    assert "0x" not in got.error["message"]
    assert "\n" not in got.error["message"]


def test_without_ffmpeg_m4a_is_refused_by_name(server, monkeypatch):
    monkeypatch.setattr("maya_bridge.serving.containers.program", lambda: None)
    got = server.ask(b"\x00\x00\x00\x20ftypM4A " + bytes(100))
    assert "ffmpeg" in got.error["message"]


def test_the_reader_itself_needs_no_file_name(sounds):
    from maya_bridge.serving.audio_bytes import read_audio

    assert len(read_audio(io.BytesIO(sounds.wav(sounds.level(3))), 10)) == 3200


def test_blocks_are_counted_whatever_the_header_said():
    from maya_bridge.serving.audio_bytes import TooLong, _limited

    blocks = _limited(iter([np.zeros(16000, dtype=np.float32)] * 5), 16000, 3, None)
    assert len(next(blocks)) == 16000
    with pytest.raises(TooLong, match="3 s long"):
        list(blocks)
