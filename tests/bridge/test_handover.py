"""Between many who hand over and one who takes: in order, bounded, nothing lost, nobody asleep."""

from __future__ import annotations

import sys
import threading

from firmware_bridge.handover import Handover


def test_bounded_and_in_order() -> None:
    queue: Handover[int] = Handover(3)
    assert [queue.offer(n) for n in range(4)] == [True, True, True, False]
    queue.maxsize = 4
    assert queue.offer(4) and not queue.offer(5)
    assert queue.take(2, 0) == [0, 1] and not queue.empty()
    assert queue.take(9, 5) == [2, 4] and queue.empty()
    assert queue.take(9, 0) == [] == queue.take(9, 0.001)


def test_many_hand_over_to_one_who_never_oversleeps() -> None:
    queue: Handover[tuple[int, int]] = Handover(5)
    each, producers = 2000, 4

    def produce(who: int) -> None:
        for n in range(each):
            while not queue.offer((who, n)):
                threading.Event().wait(0)

    threads = [threading.Thread(target=produce, args=(who,)) for who in range(producers)]
    found: list[tuple[int, int]] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        while len(found) < each * producers:
            taken = queue.take(3, 30)
            assert 0 < len(taken) <= 3, "a waiting taker was not woken"
            found += taken
    finally:
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join(30)
    for who in range(producers):
        assert [n for other, n in found if other == who] == list(range(each))
