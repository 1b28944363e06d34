"""The work queue: nothing is forgotten, nothing is done twice at a time, nothing piles up."""

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from rayjobwatch.engine.queue import WorkQueue


async def _taken(queue: WorkQueue[str], seconds: float = 2) -> str:
    async with asyncio.timeout(seconds):
        return await queue.get()


def _is_empty(queue: WorkQueue[str]) -> bool:
    return not queue._ready and not queue._urgent


async def _until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until `holds`: every turn counts here, so that there is nothing to wait for."""
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("never came true")


async def test_a_key_added_often_is_handed_out_once_in_order() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abaab":
        queue.add(key)
    assert [await _taken(queue), await _taken(queue)] == ["a", "b"]
    assert _is_empty(queue)


async def test_a_key_that_changes_while_worked_on_is_worked_on_again_but_not_at_the_same_time() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await _taken(queue)
    queue.add("a")
    queue.add("a")
    assert _is_empty(queue)
    queue.done("a")
    assert await _taken(queue) == "a"
    queue.done("a")
    assert _is_empty(queue)


async def test_urgent_keys_go_first_and_stay_urgent() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abc":
        queue.add(key)
    queue.add("c", urgent=True)
    queue.add("c")
    assert await _taken(queue) == "c"
    queue.add("c", urgent=True)
    queue.add("c")
    queue.done("c")
    assert [await _taken(queue) for _ in range(3)] == ["c", "a", "b"]
    assert _is_empty(queue)


async def test_a_worker_for_urgent_keys_leaves_the_others_to_others() -> None:
    queue: WorkQueue[str] = WorkQueue()
    urgent = asyncio.create_task(queue.get(urgent_only=True))
    any_key = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    async with asyncio.timeout(2):
        assert await any_key == "a"
    assert not urgent.done()
    queue.add("b", urgent=True)
    async with asyncio.timeout(2):
        assert await urgent == "b"


async def test_the_sooner_of_two_delays_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 3600)
    queue.add_after("a", 0.01)
    queue.add_after("a", 3600)
    assert await _taken(queue) == "a"
    assert not queue._timers


async def test_adding_a_key_serves_its_delay_too() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0.01)
    queue.add("a")
    assert not queue._timers
    assert await _taken(queue) == "a"


async def test_a_delay_that_ends_during_the_work_brings_the_key_back_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await _taken(queue)
    queue.add_after("a", 0)
    await _until(lambda: not queue._timers)
    assert _is_empty(queue)
    queue.done("a")
    assert await _taken(queue) == "a"


async def test_close_cancels_what_is_delayed() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0)
    queue.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert _is_empty(queue)


async def test_every_waiting_worker_gets_a_key_and_a_cancelled_one_takes_none() -> None:
    queue: WorkQueue[str] = WorkQueue()
    workers = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    workers[0].cancel()
    queue.add("a")
    queue.add("b")
    async with asyncio.timeout(2):
        assert sorted(await asyncio.gather(*workers[1:])) == ["a", "b"]


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=30))
def test_every_add_is_followed_by_work_begun_after_it(steps: list[str | None]) -> None:
    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue()
        owed: set[str] = set()
        working: set[str] = set()

        async def worker() -> None:
            while True:
                key = await queue.get()
                assert key not in working
                working.add(key)
                owed.discard(key)
                await asyncio.sleep(0)
                working.discard(key)
                queue.done(key)

        async with asyncio.timeout(5):
            tasks = [asyncio.create_task(worker()) for _ in range(2)]
            for step in steps:
                if step is None:
                    await asyncio.sleep(0)
                else:
                    owed.add(step)
                    queue.add(step)
            await _until(lambda: not owed and not working)
            assert not any(task.done() for task in tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
