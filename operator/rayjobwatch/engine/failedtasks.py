"""Asking one Ray dashboard which tasks of a job failed, where the job's log does not tell why it did."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from rayjobwatch.engine import tasks
from rayjobwatch.model.cause.tasks import FailedTask
from rayjobwatch.model.text import clean_line
from rayjobwatch.ray import AsyncRayClient, ClientError, StateRow

SECONDS = 1.5
AT_A_TIME = 2
MOST_ROWS = 200
KNOWN_JOBS = 100
TEXT_BYTES = 80

Failed = tuple[FailedTask, ...]


class FailedTasks:
    """Asks once a job, in the background and not for long. told: called with a job when there is an answer, or none."""

    def __init__(self, client: AsyncRayClient, told: Callable[[str], None]) -> None:
        self._client = client
        self._told = told
        self._known: OrderedDict[str, Failed | None] = OrderedDict()
        self._asking: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_A_TIME)

    def ask(self, ray_job_id: str) -> None:
        """Ask for the failed tasks of the driver with this id (Ray's own), unless that was done."""
        if ray_job_id in self._known:
            return
        self._known[ray_job_id] = None
        if len(self._known) > KNOWN_JOBS:
            self._known.popitem(last=False)
        task = tasks.start(f"failed tasks of {ray_job_id}", lambda: self._ask(ray_job_id))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def answer(self, ray_job_id: str) -> Failed | None:
        """Return what was answered, nothing where Ray did not; None while it was not asked, or has not answered."""
        return self._known.get(ray_job_id)

    async def close(self) -> None:
        """Ask no more."""
        await tasks.stop(*self._asking)

    async def _ask(self, ray_job_id: str) -> None:
        failed: Failed = ()
        try:
            async with asyncio.timeout(SECONDS), self._places:
                failed = await self._asked(ray_job_id)
        except (ClientError, TimeoutError):
            pass  # the verdict does without
        if ray_job_id in self._known:  # and not forgotten among too many
            self._known[ray_job_id] = failed
        self._told(ray_job_id)

    async def _asked(self, ray_job_id: str) -> Failed:
        filters = [("job_id", "=", ray_job_id), ("state", "=", "FAILED")]
        rows = await self._client.list_tasks(filters=filters, detail=True, limit=MOST_ROWS)
        return tuple(_task_of(row) for row in rows if row.get("error_type"))


def _task_of(row: StateRow) -> FailedTask:
    end = row.get("end_time_ms")
    return FailedTask(
        error_type=clean_line(str(row.get("error_type")), TEXT_BYTES),
        name=clean_line(str(row.get("name") or row.get("func_or_class_name") or ""), TEXT_BYTES),
        end=end if isinstance(end, int) else 0,
    )
