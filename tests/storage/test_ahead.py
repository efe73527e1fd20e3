import threading
import time

import pytest

from storage.objects.ahead import AT_ONCE, ahead


def test_results_come_in_the_order_of_the_items_and_some_at_once():
    met = threading.Barrier(AT_ONCE, timeout=30)

    def work(number: int) -> int:
        met.wait()
        time.sleep((number % 3) / 1000)
        return number * number

    found = [(item, done.result()) for item, done in ahead(range(3 * AT_ONCE), work)]
    assert found == [(number, number * number) for number in range(3 * AT_ONCE)]


def test_what_fails_is_told_with_its_item_and_the_others_go_on():
    found = [done.exception() for _, done in ahead([1, 0, 2], lambda number: 1 / number)]
    assert [type(error) for error in found] == [type(None), ZeroDivisionError, type(None)]


def test_no_more_is_begun_than_fits_in_memory():
    taken, begun = [], []

    def items() -> "list[int]":
        for number in range(10):
            taken.append(number)
            yield number  # type: ignore[misc]

    results = ahead(items(), begun.append, lambda _: 30 * 2**20)
    next(results)
    assert len(taken) == 3  # two fit, and the third waits for room
    assert len(begun) == 2
    # One that is larger than all room is done alone.
    assert [item for item, _ in ahead([1, 2], str, lambda _: 2**40)] == [1, 2]


def test_a_caller_that_stops_leaves_nothing_running():
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        for _ in ahead(range(1000), work):
            raise KeyboardInterrupt
    count = len(begun)
    time.sleep(0.05)
    assert len(begun) == count < 1000
