"""Full, late, hung up on, shut down: what clients are told, and what becomes of their requests."""

import http.client
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from maya_bridge.serving.settings import ServeSettings


@pytest.fixture
def many():
    with ThreadPoolExecutor(20) as pool:
        yield pool


@pytest.fixture
def held(sounds):
    """A model that decodes nothing until it is let go."""
    model = sounds.EchoModel()
    model.going.clear()
    return model


def test_a_full_server_refuses_at_once_and_finishes_what_it_took(serve, held, said, sounds, many):
    with serve(held, max_requests=3) as server:
        taken = [many.submit(server.ask, said(n)) for n in (1, 2, 3)]
        sounds.until(lambda: server.service.active == 3)
        refused = server.ask(said(4))
        assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        held.going.set()
        assert sorted(one.result().json["text"] for one in taken) == ["number 1", "number 2", "number 3"]
        assert server.ask(said(4)).json["text"] == "number 4"


def test_too_much_audio_at_a_time_is_refused(serve, held, said, sounds, many):
    with serve(held, max_waiting_seconds=5) as server:
        first = many.submit(server.ask, said(1, 4))
        sounds.until(lambda: server.service._held)
        assert server.ask(said(2, 4)).status == 429
        held.going.set()
        assert first.result().status == 200
        assert server.ask(said(2, 40)).status == 200  # alone, anything of the allowed length


def test_an_answer_that_takes_too_long_is_given_up(serve, held, said):
    with serve(held, timeout=0.3) as server:
        late = server.ask(said(1))
        assert (late.status, late.error["code"]) == (504, "timeout")
        assert server.service.active == 0
        assert not server.service.batcher._jobs


def test_a_request_that_does_not_arrive_is_given_up(serve):
    with (
        serve(timeout=0.3) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw,
    ):
        raw.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        )
        assert b" 408 " in raw.recv(1000)
        assert server.service.active == 0


def test_the_audio_of_a_client_that_left_is_not_decoded(serve, held, said, sounds):
    with serve(held) as server:
        blocking = threading.Thread(target=server.ask, args=(said(1),))
        blocking.start()
        sounds.until(lambda: server.service.batcher._jobs)
        leaving = socket.create_connection(("127.0.0.1", server.port))
        body = sounds.form(said(2), {"language": "hi"})
        leaving.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: multipart/form-data; boundary=" + sounds.boundary.encode() + b"\r\n"
            b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )
        sounds.until(lambda: len(server.service.batcher._jobs) == 2)
        leaving.close()
        sounds.until(lambda: len(server.service.batcher._jobs) == 1)
        held.going.set()
        blocking.join()
        assert held.batches == [["number 1"]]


def test_a_stop_finishes_what_was_accepted_and_refuses_the_rest(serve, held, said, sounds, many):
    with serve(held) as server:
        idle = server.connect()
        idle.connect()
        accepted = [many.submit(server.ask, said(n)) for n in (1, 2)]
        sounds.until(lambda: server.service.active == 2)
        server.server.handle_exit(15, None)
        time.sleep(0.3)  # it still listens
        refused = server.ask(said(3), connection=idle)
        assert (refused.status, refused.error["code"]) == (503, "shutting_down")
        assert "retry-after" in refused.headers
        health = server.request("GET", "/health")
        assert (health.status, health.json["status"]) == (503, "shutting down")
        held.going.set()
        assert sorted(one.result().json["text"] for one in accepted) == ["number 1", "number 2"]
        idle.close()
        time.sleep(0.3)
        with pytest.raises((OSError, http.client.HTTPException)):
            server.ask(said(4))


def test_a_key_is_asked_for_and_compared(serve, said):
    with serve(api_key="open-sesame-ज्ञ") as server:
        for key in (None, "", "open", "open-sesame-", "Open-Sesame"):
            got = server.ask(said(1), **({} if key is None else {"key": key}))
            assert (got.status, got.error["type"]) == (401, "authentication_error"), key
            assert got.headers["www-authenticate"] == "Bearer"
            assert "sesame" not in got.content.decode()
        assert server.request("GET", "/v1/models").status == 401
        assert server.request("GET", "/health").status == 200
        assert server.request("GET", "/metrics").status == 200
        # http.client sends headers as latin-1: the bytes of the key's UTF-8.
        assert server.ask(said(1), key="open-sesame-ज्ञ".encode().decode("latin-1")).status == 200


@pytest.mark.parametrize(
    "wrong",
    [{"max_requests": 0}, {"timeout": 0}, {"api_key": " "}, {"max_upload_mb": -1}, {"gather_seconds": -1}],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must"):
        ServeSettings(**wrong)


def test_the_key_is_not_shown_with_the_settings():
    assert "sesame" not in repr(ServeSettings(api_key="sesame"))


def test_unknown_addresses_and_methods_are_told_as_openai_tells_them(server):
    assert server.request("GET", "/v1/nothing").error["code"] == "unknown_url"
    assert server.request("GET", "/v1/audio/transcriptions").status == 405
    assert server.request("DELETE", "/health").status == 405
    assert server.request("GET", "/nothing").error["type"] == "not_found_error"


def test_without_its_page_the_server_says_so(server):
    got = server.request("GET", "/")
    assert got.status == 200
    assert b"without its page" in got.content


def test_metrics_count_what_happened(serve, said, many):
    with serve(max_requests=64) as server:
        list(many.map(server.ask, [said(n) for n in range(1, 9)]))
        server.ask(b"nonsense")
        text = server.request("GET", "/metrics").content.decode()
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
    assert told['maya_requests_total{route="/v1/audio/transcriptions",status="200"}'] == "8.0"
    assert told['maya_requests_total{route="/v1/audio/transcriptions",status="400"}'] == "1.0"
    assert float(told["maya_audio_seconds_total"]) == pytest.approx(1.6)
    assert told["maya_batch_size_sum"] == "8.0"
    assert told['maya_stage_seconds_count{stage="decode"}'] == "8.0"
    assert told["maya_queue_depth"] == told["maya_requests_in_flight"] == told["maya_queue_seconds"] == "0.0"


def test_without_gradio_the_page_says_how_to_get_it(serve, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with serve(page=True) as server:
        assert b"maya-bridge[serve,page]" in server.request("GET", "/").content
