import io
import os
import threading
import time
import uuid
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from maya_data.audio import files, remote
from maya_data.audio.files import Retry, UnreadableFile

CONTENT = bytes(range(256)) * 40


class Flaky(MemoryFileSystem):
    """Fails, or hangs, as often as it is told to."""

    protocol = "flaky"
    failures: ClassVar[list[Exception | float]] = []
    calls = 0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("flaky://", "memory://"))

    def cat_file(self, path, start=None, end=None, **kwargs):
        Flaky.calls += 1
        if Flaky.failures:
            failure = Flaky.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            time.sleep(failure)
        return super().cat_file(path, start, end, **kwargs)


fsspec.register_implementation("flaky", Flaky, clobber=True)


class RangeHandler(SimpleHTTPRequestHandler):
    """A static server that honours ranges, unless its folder says otherwise."""

    ranges = True

    def do_GET(self):
        path = self.translate_path(self.path)
        asked = self.headers.get("Range")
        if asked is None or not self.ranges or not os.path.isfile(path):
            return super().do_GET()
        start, end = (int(number) for number in asked.removeprefix("bytes=").split("-"))
        with open(path, "rb") as file:
            content = file.read()
        if start >= len(content):
            return self.send_error(416)
        piece = content[start : end + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{start + len(piece) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        self.wfile.write(piece)

    def log_message(self, *args):
        pass


class RangelessHandler(RangeHandler):
    ranges = False


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tmp_path)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(params=["local", "file://", "memory://", "arrow"])
def root(request, tmp_path, monkeypatch):
    """A folder with the same three files on each kind of storage."""
    names = {"lang=hi/a/audio.tar": CONTENT, "lang=hi/a/m.json": b"{}", "top.tar": b"top"}
    if request.param == "memory://":
        folder = f"/{uuid.uuid4().hex}"
        for name, content in names.items():
            fsspec.filesystem("memory").pipe(f"{folder}/{name}", content)
        return f"memory:/{folder}"
    for name, content in names.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    if request.param != "arrow":
        return f"{request.param.removeprefix('local')}{tmp_path}"
    import pyarrow.fs
    from fsspec.implementations.arrow import ArrowFSWrapper

    store = ArrowFSWrapper(pyarrow.fs.LocalFileSystem()), f"{tmp_path}"
    monkeypatch.setattr(remote, "_arrow_store", lambda bucket, process: store)
    return "onlyarrow://bucket"


def test_every_storage_gives_the_same_bytes(root):
    path = files.join(root, "lang=hi/a/audio.tar")
    assert files.read_range(path, 300, 7) == CONTENT[300:307]
    assert files.read_range(path, len(CONTENT) - 2, 7) == CONTENT[-2:]
    assert files.read_range(path, 5, 0) == b""
    assert files.read_bytes(path) == CONTENT
    assert files.size_of(path) == len(CONTENT)


def test_every_storage_opens_seekable_files(root):
    with files.open_binary(files.join(root, "lang=hi/a/audio.tar")) as file:
        assert file.seek(-4, os.SEEK_END) == len(CONTENT) - 4
        assert file.read() == CONTENT[-4:]
        file.seek(257)
        assert file.read(3) == CONTENT[257:260]
        assert file.tell() == 260
        file.seek(len(CONTENT) + 10)
        assert file.read(1) == b""


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("lang=*/*/audio.tar", ["lang=hi/a/audio.tar"]),
        ("**/*.tar", ["lang=hi/a/audio.tar", "top.tar"]),
        ("**/*", ["lang=hi/a/audio.tar", "lang=hi/a/m.json", "top.tar"]),
        ("*", ["top.tar"]),
        ("*.wav", []),
    ],
)
def test_every_storage_lists_the_same_files(root, pattern, found):
    assert files.list_files(root, pattern) == found


def test_every_storage_says_what_is_not_there(root):
    gone = files.join(root, "lang=hi/none.tar")
    assert files.exists(files.join(root, "top.tar"))
    assert files.exists(files.join(root, "lang=hi"))
    assert not files.exists(gone)
    for read in (
        files.read_bytes,
        files.size_of,
        files.stamp,
        files.open_binary,
        lambda path: files.read_range(path, 0, 1),
    ):
        with pytest.raises(FileNotFoundError, match=r"none\.tar does not exist"):
            read(gone)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        files.list_files(files.join(root, "nowhere"), "*")


def test_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = files.stamp(path)
    assert files.stamp(path) == first
    os.utime(path, (1, 1))
    assert files.stamp(path) != first
    store = fsspec.filesystem("memory")
    store.pipe("/stamped", b"one")
    first = files.stamp("memory://stamped")
    store.pipe("/stamped", b"two")
    assert files.stamp("memory://stamped") != first


@pytest.mark.parametrize(
    ("root", "name", "joined"),
    [
        ("/data", "a/b.tar", "/data/a/b.tar"),
        ("s3://bucket/x/", "a.tar", "s3://bucket/x/a.tar"),
        ("/data", "/other/a.tar", "/other/a.tar"),
        ("/data", "s3://bucket/a.tar", "s3://bucket/a.tar"),
        ("s3://bucket", "", "s3://bucket"),
    ],
)
def test_names_are_joined_to_their_root(root, name, joined):
    assert files.join(root, name) == joined


def test_descriptors_stay_bounded(tmp_path):
    for number in range(files.OPEN_FILES + 50):
        (tmp_path / str(number)).write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(files.OPEN_FILES + 50):
        assert files.read_range(str(tmp_path / str(number)), 0, 1) == b"x"
    assert len(os.listdir("/proc/self/fd")) <= before + files.OPEN_FILES


def test_disk_errors_name_the_file(tmp_path):
    with pytest.raises(UnreadableFile, match=rf"{tmp_path} cannot be read at byte 0: Is a directory"):
        files.read_range(str(tmp_path), 0, 1)


def test_http_is_read_by_ranges(serve, tmp_path):
    (tmp_path / "a.tar").write_bytes(CONTENT)
    url = f"{serve(RangeHandler)}/a.tar"
    assert files.read_range(url, 300, 7) == CONTENT[300:307]
    assert files.size_of(url) == len(CONTENT)
    assert files.stamp(url) == files.stamp(url)
    with files.open_binary(url) as file:
        file.seek(1000)
        assert file.read(3) == CONTENT[1000:1003]
    with pytest.raises(FileNotFoundError, match=r"gone\.tar does not exist"):
        files.read_range(url.replace("a.tar", "gone.tar"), 0, 1)


def test_a_range_behind_the_end_of_a_remote_file_is_empty(serve, tmp_path):
    (tmp_path / "a.tar").write_bytes(CONTENT)
    settings = Retry(attempts=2, first_wait=0)
    assert files.read_range(f"{serve(RangeHandler)}/a.tar", len(CONTENT), 7, settings=settings) == b""


def test_a_server_without_ranges_is_named(serve, tmp_path):
    (tmp_path / "a.tar").write_bytes(CONTENT)
    with pytest.raises(UnreadableFile, match=r"a\.tar ignores byte ranges"):
        files.read_range(f"{serve(RangelessHandler)}/a.tar", 300, 7)


def test_an_unreachable_server_is_named():
    with pytest.raises(UnreadableFile, match=r"http://127\.0\.0\.1:9/a cannot be read after"):
        files.read_range("http://127.0.0.1:9/a", 0, 1, settings=Retry(attempts=2, first_wait=0))


@pytest.mark.parametrize("uri", ["nonsense://bucket/a.tar", "s3n://bucket/a.tar"])
def test_an_unknown_scheme_is_named(uri):
    with pytest.raises(UnreadableFile, match=rf"{uri} cannot be opened"):
        files.read_range(uri, 0, 1)


def test_arrow_opens_what_fsspec_has_no_driver_for(tmp_path, monkeypatch):
    (tmp_path / "a.tar").write_bytes(CONTENT)

    def missing(bucket, process):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(remote, "_fsspec_store", missing)
    assert remote.read(f"file://{tmp_path}/a.tar", 3, 4) == CONTENT[3:7]
    assert remote.list_files(f"file://{tmp_path}", "*.tar") == ["a.tar"]


@pytest.mark.parametrize(("uri", "clients"), [("http://127.0.0.1:9/a", 1), ("memory://bucket/a", 3)])
def test_threads_share_a_client_that_is_made_for_it(uri, clients):
    stores, together = [], threading.Barrier(3)

    def ask():
        stores.append(remote._store(uri)[0])
        together.wait()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(store) for store in stores}) == clients


@pytest.fixture
def flaky():
    Flaky.failures, Flaky.calls = [], 0
    fsspec.filesystem("memory").pipe("/flaky.tar", CONTENT)
    return "flaky://flaky.tar"


def test_failed_reads_are_tried_again_with_growing_waits(flaky, monkeypatch):
    Flaky.failures = [ConnectionError("reset"), RuntimeError("slow down"), OSError("again")]
    waits = []
    monkeypatch.setattr(remote.time, "sleep", waits.append)
    assert files.read_range(flaky, 1, 3, settings=Retry(first_wait=1.0, longest_wait=3.0)) == CONTENT[1:4]
    assert Flaky.calls == 4
    assert len(waits) == 3
    assert all(top / 2 <= wait <= top for wait, top in zip(waits, (1, 2, 3), strict=True))


def test_reads_that_keep_failing_are_named(flaky):
    Flaky.failures = [ConnectionError("the peer\nwent away")] * 9
    with pytest.raises(
        UnreadableFile, match=r"flaky://flaky.tar cannot be read after 3 attempts: the peer went"
    ):
        files.read_range(flaky, 0, 1, settings=Retry(attempts=3, first_wait=0))
    assert Flaky.calls == 3


def test_what_no_attempt_can_cure_is_not_tried_again(flaky):
    Flaky.failures = [PermissionError("no key")]
    with pytest.raises(UnreadableFile, match="no key"):
        files.read_range(flaky, 0, 1)
    assert Flaky.calls == 1


def test_a_hanging_read_times_out_and_is_tried_again(flaky):
    Flaky.failures = [5.0]
    started = time.perf_counter()
    assert files.read_range(flaky, 0, 2, settings=Retry(timeout=0.2, first_wait=0)) == CONTENT[:2]
    assert time.perf_counter() - started < 2
    Flaky.failures = [5.0]
    with pytest.raises(UnreadableFile, match=r"after one attempt: no answer within 0\.2 s"):
        files.read_range(flaky, 0, 2, settings=Retry(timeout=0.2, attempts=1))


def test_reads_of_an_open_remote_file_are_tried_again(flaky, monkeypatch):
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)
    with files.open_binary(flaky) as file:
        Flaky.failures = [ConnectionError("reset")]
        assert file.read() == CONTENT
    assert isinstance(file, io.BufferedReader)


@pytest.mark.parametrize(
    "setting", [{"attempts": 0}, {"timeout": 0.0}, {"first_wait": -1.0}, {"longest_wait": float("nan")}]
)
def test_impossible_retries_are_refused(setting):
    with pytest.raises(ValueError, match="must be"):
        Retry(**setting)
