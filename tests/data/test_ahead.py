"""A batch taken ahead: the same items in the same order, errors in their place, and nothing left behind."""

import gc
import subprocess
import sys
import threading
import time

import pytest

from maya_data.loading.ahead import Ahead

NAME = "loader ahead"


def running():
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def gone(seconds=5.0):
    deadline = time.monotonic() + seconds
    while running() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not running()


def test_items_come_in_order_and_end() -> None:
    assert list(Ahead(iter(range(50)))) == list(range(50))
    assert gone()


def test_an_error_comes_behind_the_items_before_it_and_ends_them() -> None:
    def failing():
        yield 1
        yield 2
        raise KeyError("third")

    items = Ahead(failing())

    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)


def test_one_item_is_taken_while_nobody_asks() -> None:
    taken = []

    def counting():
        for number in range(10):
            taken.append(number)
            yield number

    items = Ahead(counting())
    deadline = time.monotonic() + 5
    while len(taken) < 2 and time.monotonic() < deadline:  # one in the queue, one in hand
        time.sleep(0.01)
    time.sleep(0.05)

    assert taken == [0, 1]
    assert next(items) == 0
    items.close()


@pytest.mark.parametrize("way", ["close", "forget"])
def test_thread_ends_with_what_it_is_for(way) -> None:
    items = Ahead(iter(range(100)))
    next(items)
    if way == "close":
        items.close()
        assert not running()
    del items
    gc.collect()
    assert gone()


def test_thread_ends_before_python_does() -> None:
    program = (
        "import atexit, threading\n"
        "atexit.register(lambda: print([t.name for t in threading.enumerate()]))\n"
        "from maya_data.loading.ahead import Ahead\n"
        "items = Ahead(iter(range(100)))\n"
        "print(next(items))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines() == ["0", "['MainThread']"]
