"""Many clients at a time."""

import random
import threading

REQUESTS = 1000
CLIENTS = 16


def test_a_thousand_requests_each_get_their_own_answer(server, said):
    numbers = [14 + n for n in range(REQUESTS)]
    random.Random(0).shuffle(numbers)
    left = iter(numbers)
    answers: dict[int, str] = {}
    lock = threading.Lock()
    before = len(server.model.batches)

    def client():
        connection = server.connect()
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return connection.close()
            got = server.ask(said(number, 0.05 + number % 7 / 20), connection=connection)
            answers[number] = got.json["text"] if got.status == 200 else f"{got.status}"

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"number {number}" for number in numbers}
    assert len(server.model.batches) - before < REQUESTS  # some were decoded together
    assert server.service.active == 0
    assert not server.service.batcher._jobs
