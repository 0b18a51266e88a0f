"""Live streams as a client uses them, over real WebSockets on loopback."""

import asyncio
import base64
import contextlib
import gc
import json
import re
import weakref
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from maya_bridge.serving import stream_connection, stream_route
from maya_bridge.serving.stream_settings import StreamSettings
from maya_bridge.streaming import StreamOptions, StreamSession

RATE = 16000


def pcm(samples: np.ndarray) -> bytes:
    return np.round(samples * 32768).astype("<i2").tobytes()


@pytest.fixture
def say(sounds):
    """Give the bytes of a stream that says numbers, with pauses behind them."""

    def make(*numbers: int, seconds: float = 2.0) -> bytes:
        return b"".join(pcm(sounds.level(number, seconds)) for number in numbers)

    return make


def client(server, query: str = "?language=hi", **more):
    url = f"ws://127.0.0.1:{server.port}/v1/audio/stream{query}"
    return connect(url, proxy=None, open_timeout=30, ping_timeout=None, **more)


async def send(socket, kind: str, **fields) -> None:
    await socket.send(json.dumps({"type": kind, **fields}))


async def until(socket, kind: str) -> list[dict]:
    """Receive up to the first event of this type."""
    events = []
    async with asyncio.timeout(30):
        while not events or events[-1]["type"] != kind:
            events.append(json.loads(await socket.recv()))
    return events


async def everything(socket) -> list[dict]:
    """Receive until the server closes the stream, whatever its reason."""
    events = []
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(30):
            while True:
                events.append(json.loads(await socket.recv()))
    return events


def of(events: list[dict], kind: str) -> list[dict]:
    return [event for event in events if event["type"] == kind]


def frames(data: bytes, size: int = 6400) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("as_text", [False, True])
def test_a_client_reads_deltas_while_it_speaks_and_the_final_text(server, say, as_text):
    async def run():
        async with client(server) as socket:
            created = json.loads(await socket.recv())
            assert created["type"] == "session.created"
            told = created["session"]
            assert (told["language"], told["decode"], told["polish"]) == ("hi", "ctc", "greedy")
            for frame in frames(say(7)):
                if as_text:
                    await send(socket, "input_audio_buffer.append", audio=base64.b64encode(frame).decode())
                else:
                    await socket.send(frame)
            partial = await until(socket, "transcript.text.delta")
            assert partial[-1]["stable"] + partial[-1]["tail"] == "number 7"
            await send(socket, "session.close")
            events = await everything(socket)
            assert socket.close_code == 1000
            return partial + events

    events = asyncio.run(run())
    assert events[-1]["type"] == "session.closed"
    (done,) = of(events, "transcript.text.done")
    assert done["text"] == "number 7"
    assert "".join(event["delta"] for event in of(events, "transcript.text.delta")) == done["heard"]
    assert len({event["item_id"] for event in of(events, "transcript.text.delta")} | {done["item_id"]}) == 1
    assert len({event["event_id"] for event in events}) == len(events)


def test_the_events_are_those_that_openais_client_knows(server, say):
    from openai.types.audio import TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
    from openai.types.realtime import InputAudioBufferClearedEvent, RealtimeErrorEvent

    async def run():
        async with client(server) as socket:
            await socket.send(say(5))
            await socket.send("no json")
            await send(socket, "input_audio_buffer.commit")
            events = await until(socket, "transcript.text.done")
            await send(socket, "input_audio_buffer.clear")
            return events + await until(socket, "input_audio_buffer.cleared")

    events = asyncio.run(run())
    known = {
        "transcript.text.delta": TranscriptionTextDeltaEvent,
        "transcript.text.done": TranscriptionTextDoneEvent,
        "error": RealtimeErrorEvent,
        "input_audio_buffer.cleared": InputAudioBufferClearedEvent,
    }
    for kind, known_type in known.items():
        assert of(events, kind)
        for event in of(events, kind):
            known_type.model_validate(event)


def test_many_streams_at_once_each_get_their_own_text(server, say):
    async def one(number):
        async with client(server) as socket:
            for frame in frames(say(number, seconds=1.0)):
                await socket.send(frame)
                await asyncio.sleep(0.01)
            await send(socket, "session.close")
            return " ".join(event["text"] for event in of(await everything(socket), "transcript.text.done"))

    async def run():
        return await asyncio.gather(*(one(number) for number in range(20, 32)))

    assert asyncio.run(run()) == [f"number {number}" for number in range(20, 32)]


def test_a_commit_of_silence_is_answered_with_an_empty_text(server, say):
    async def run():
        async with client(server) as socket:
            await socket.send(say(0))
            await send(socket, "input_audio_buffer.commit")
            return await until(socket, "transcript.text.done")

    assert asyncio.run(run())[-1]["text"] == ""


def test_settings_change_in_the_stream_and_end_the_segment_before(server, say):
    async def run():
        async with client(server, "") as socket:
            await send(socket, "session.update", session={"language": "hi", "polish": None})
            await socket.send(say(33))
            inside = {"audio": {"input": {"transcription": {"language": "en", "prompt": "Maya"}}}}
            await send(socket, "session.update", session=inside | {"polish": "greedy"})
            await socket.send(say(34))
            await send(socket, "session.close")
            return await everything(socket)

    events = asyncio.run(run())
    first, second = of(events, "transcript.text.done")
    assert (first["language"], first["text"]) == ("hi", "number 33")
    assert (second["language"], second["text"]) == ("en", "number 34 Maya")
    assert second["start"] >= 2.0
    assert first["item_id"] != second["item_id"]


OPENAIS = {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}}}


@pytest.mark.parametrize(("query", "session"), [("&sampling_rate=24000", None), ("", OPENAIS)])
def test_audio_of_another_rate_is_heard_as_if_it_were_one_piece(server, sounds, query, session):
    at_24000 = pcm(sounds.level(45, 3.0))  # 2 s of 24 kHz

    async def run():
        async with client(server, f"?language=hi{query}") as socket:
            if session:
                await send(socket, "session.update", session=session)
            for frame in frames(at_24000, 2402):
                await socket.send(frame)
            await send(socket, "session.close")
            return await everything(socket)

    events = asyncio.run(run())
    told = of(events, "session.updated" if session else "session.created")[0]["session"]
    assert told["sampling_rate"] == 24000
    (done,) = of(events, "transcript.text.done")
    assert done["text"] == "number 45"
    assert done["end"] == pytest.approx(2.0, abs=0.02)


def test_a_rate_that_is_none_is_refused_before_the_stream(server):
    async def run():
        with pytest.raises(InvalidStatus) as refused:
            await client(server, "?language=hi&sampling_rate=1e9").__aenter__()
        return refused.value.response

    response = asyncio.run(run())
    assert response.status_code == 400
    assert json.loads(response.body)["error"]["code"] == "invalid_audio_format"


def test_settings_that_follow_one_another_at_once_add_up(server, say):
    async def run():
        async with client(server, "") as socket:
            for session in ({"language": "en"}, {"polish": "none"}, {"sampling_rate": 8000}):
                await send(socket, "session.update", session=session)
            await send(socket, "session.close")
            return await everything(socket)

    told = of(asyncio.run(run()), "session.updated")[-1]["session"]
    assert (told["language"], told["polish"], told["sampling_rate"]) == ("en", None, 8000)


HOSTILE = {
    "odd number of bytes": (b"abc", "invalid_audio"),
    "text where audio is due": ("hello", "invalid_json"),
    "a number": ("NaN", "invalid_json"),
    "deep nesting": ("[" * 100_000, "invalid_json"),
    "no such event": ('{"type": "response.create"}', "unknown_event"),
    "type that is no string": ('{"type": {"a": 1}}', "unknown_event"),
    "NaN as audio": ('{"type": "input_audio_buffer.append", "audio": NaN}', "invalid_value"),
    "no base64": ('{"type": "input_audio_buffer.append", "audio": "@@@"}', "invalid_audio"),
    "letters beyond ASCII": ('{"type": "input_audio_buffer.append", "audio": "हह"}', "invalid_audio"),
    "huge frame": (b"\0" * 400_000, "too_large"),
    "huge append": (json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 500_000}), "too_large"),
    "huge text": ('"' + "a" * 900_000 + '"', "too_large"),
    "session of text": ('{"type": "session.update", "session": "hi"}', "invalid_value"),
    "unknown language": ('{"type": "session.update", "session": {"language": "xx"}}', "invalid_value"),
    "unknown decode": ('{"type": "session.update", "session": {"decode": "beam"}}', "invalid_value"),
    "language that is a list": (
        '{"type": "session.update", "session": {"language": ["hi"]}}',
        "invalid_value",
    ),
    "another rate": (
        '{"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 96000}}}}}',
        "invalid_audio_format",
    ),
    "a rate of text": (
        '{"type": "session.update", "session": {"sampling_rate": "fast"}}',
        "invalid_audio_format",
    ),
    "a rate that is true": (
        '{"type": "session.update", "session": {"sampling_rate": true}}',
        "invalid_audio_format",
    ),
    "another coding": (
        '{"type": "session.update", "session": {"input_audio_format": "g711_ulaw"}}',
        "invalid_audio_format",
    ),
}


@pytest.mark.parametrize("message", HOSTILE)
def test_a_hostile_message_gets_an_error_and_the_stream_goes_on(server, say, message):
    sent, code = HOSTILE[message]

    async def run():
        async with client(server) as socket:
            await socket.send(sent)
            error = (await until(socket, "error"))[-1]["error"]
            await socket.send(say(6))
            await send(socket, "session.close", event_id="last")
            return error, await everything(socket)

    error, events = asyncio.run(run())
    assert error["code"] == code
    assert error["type"] == "invalid_request_error"
    assert "\n" not in error["message"]
    assert len(error["message"]) < 400
    assert [event["text"] for event in of(events, "transcript.text.done")] == ["number 6"]


def test_an_error_names_the_message_that_caused_it(server):
    async def run():
        async with client(server) as socket:
            await send(socket, "nonsense", event_id="mine")
            return (await until(socket, "error"))[-1]

    assert asyncio.run(run())["error"]["event_id"] == "mine"


def test_a_frame_beyond_the_servers_limit_ends_the_stream_alone(server, say):
    async def run():
        async with client(server) as socket:
            await socket.send(b"\0" * 2_000_000)
            await everything(socket)
            assert socket.close_code == 1009
        async with client(server) as socket:
            await send(socket, "session.close")
            return await everything(socket)

    assert asyncio.run(run())[-1]["type"] == "session.closed"


def test_audio_without_a_language_is_told_which_there_are(server, say):
    async def run():
        async with client(server, "") as socket:
            await socket.send(say(6))
            return (await until(socket, "error"))[-1]["error"]

    assert asyncio.run(run())["message"] == "`language` must be given, one of hi, en"


def test_a_bad_query_is_told_and_closed(server):
    async def run():
        async with client(server, "?language=xx") as socket:
            events = await everything(socket)
            return events, socket.close_code

    events, code = asyncio.run(run())
    assert "xx" in events[-1]["error"]["message"]
    assert code == 1008


def test_after_many_errors_the_stream_ends(server):
    async def run():
        async with client(server) as socket:
            for _ in range(40):
                await socket.send("x")
            await everything(socket)
            return socket.close_code

    assert asyncio.run(run()) == 1008


def test_the_key_of_http_is_asked_for(serve, say):
    async def run(server):
        for more in ({}, {"additional_headers": {"Authorization": "Bearer wrong"}}):
            with pytest.raises(InvalidStatus) as refused:
                await client(server, **more).__aenter__()
            assert refused.value.response.status_code == 401
            assert json.loads(refused.value.response.body)["error"]["type"] == "authentication_error"
        header = {"additional_headers": {"Authorization": "Bearer secret"}}
        browser = {"subprotocols": ["realtime", "openai-insecure-api-key.secret"]}
        for more in (header, browser):
            async with client(server, **more) as socket:
                assert (await until(socket, "session.created"))[-1]
        return socket.subprotocol

    with serve(api_key="secret") as server:
        assert asyncio.run(run(server)) == "realtime"


@pytest.fixture
def limited(serve, monkeypatch):
    """Give a server with other limits of streams."""

    def make(model=None, **limits):
        monkeypatch.setattr(stream_route, "StreamSettings", lambda: StreamSettings(**limits))
        return serve(model)

    return make


def test_one_stream_too_many_is_refused_and_a_free_place_is_taken(limited, sounds):
    async def run(server):
        async with client(server) as socket:
            await socket.recv()
            with pytest.raises(InvalidStatus) as refused:
                await client(server).__aenter__()
            assert refused.value.response.status_code == 429
        await asyncio.to_thread(sounds.until, lambda: server.service.active == 0)
        async with client(server) as socket:
            await socket.recv()

    with limited(max_streams=1) as server:
        asyncio.run(run(server))


def test_a_silent_client_is_told_and_closed(limited):
    async def run(server):
        async with client(server) as socket:
            return await everything(socket), socket.close_code

    with limited(idle_timeout=0.3) as server:
        events, code = asyncio.run(run(server))
    assert events[-1]["error"]["code"] == "idle_timeout"
    assert code == 1008


def test_a_stream_that_is_too_long_is_told_and_closed(limited, say):
    async def run(server):
        async with client(server) as socket:
            for _ in range(3):
                await socket.send(say(1))
            return await everything(socket)

    with limited(max_seconds=5.0) as server:
        assert asyncio.run(run(server))[-1]["error"]["code"] == "audio_too_long"


def test_a_client_that_is_too_fast_is_slowed_and_loses_nothing(limited, sounds, say, monkeypatch):
    model, sent, most = sounds.EchoModel(), 0, 150
    model.going.clear()  # the model is stuck
    monkeypatch.setattr(stream_route, "StreamOptions", lambda: StreamOptions(catch_up=10.0))

    async def speak(socket):
        nonlocal sent
        await socket.send(say(31, seconds=5))
        for _ in range(most):
            await socket.send(say(0, seconds=5))
            sent += 1
        await socket.send(say(32))
        await send(socket, "session.close")

    async def run(server):
        async with client(server, compression=None) as socket:
            speaking = asyncio.create_task(speak(socket))
            await asyncio.sleep(1)
            held = sent
            model.going.set()
            events = await everything(socket)
            await speaking
            return held, events

    with limited(model, max_buffered=5.0) as server:
        held, events = asyncio.run(run(server))
    assert held < most  # what is on its way: the buffers of both sides and of the network between them
    first, last = of(events, "transcript.text.done")
    assert (first["text"], last["text"]) == ("number 31", "number 32")
    assert last["start"] == pytest.approx(5 + 5 * most, abs=1)


def test_a_client_that_vanishes_leaves_nothing_behind(server, sounds, say, monkeypatch):
    sessions = []

    class Watched(StreamSession):
        def __init__(self, *given):
            super().__init__(*given)
            sessions.append(weakref.ref(self))

    monkeypatch.setattr(stream_connection, "StreamSession", Watched)

    async def run():
        for _ in range(3):
            socket = await client(server)
            await socket.send(say(9))
            await until(socket, "transcript.text.delta")
            socket.transport.abort()

    asyncio.run(run())
    sounds.until(lambda: server.service.active == 0)

    def gone() -> bool:
        gc.collect()
        return all(session() is None for session in sessions)

    sounds.until(gone)
    assert len(sessions) == 3


def test_a_failing_model_ends_the_stream_with_an_error_that_tells_no_secrets(server, say):
    async def run():
        async with client(server) as socket:
            await socket.send(say(13))
            return await everything(socket), socket.close_code

    events, code = asyncio.run(run())
    assert events[-1]["error"]["type"] == "server_error"
    assert "secret" not in json.dumps(events)
    assert code == 1011


def test_a_server_that_stops_ends_its_streams_with_their_text(serve, say):
    async def run(server):
        async with client(server) as socket:
            await socket.send(say(8))
            await until(socket, "transcript.text.delta")
            server.service.closing = True
            return await everything(socket), socket.close_code

    with serve() as server:
        events, code = asyncio.run(run(server))
    assert of(events, "transcript.text.done")[-1]["text"] == "number 8"
    assert code == 1001


@pytest.mark.parametrize(
    "given", [{"max_streams": 0}, {"idle_timeout": 0.0}, {"max_frame_seconds": float("nan")}]
)
def test_limits_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="must be"):
        StreamSettings(**given)


def test_the_readmes_client_prints_the_text(server, sounds, tmp_path, monkeypatch, capsys):
    readme = Path(__file__).parents[2] / "packages/maya-bridge/README.md"
    (script,) = re.findall(r"```python\n(import json\n.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "runs/demo/samples").mkdir(parents=True)
    (tmp_path / "runs/demo/samples/hi.wav").write_bytes(sounds.wav(sounds.level(50, 2.0)))
    monkeypatch.chdir(tmp_path)
    exec(script.replace(":8000/", f":{server.port}/"), {})
    assert capsys.readouterr().out.endswith("done: number 50\n")
