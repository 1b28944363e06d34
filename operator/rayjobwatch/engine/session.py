"""A session with one Ray dashboard, shared by all watches on it: one poller, one reader of logs."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from rayjobwatch.engine import tasks
from rayjobwatch.engine.choices import Choices
from rayjobwatch.engine.circuit import Circuit
from rayjobwatch.engine.cleanups import CleanUps
from rayjobwatch.engine.facts import ClusterFacts
from rayjobwatch.engine.failedtasks import Failed, FailedTasks
from rayjobwatch.engine.hearing import Heard
from rayjobwatch.engine.logs import Follow, LogNews, Logs, WatchKey
from rayjobwatch.engine.nodes import NodeWatch
from rayjobwatch.engine.poller import OpenJob, Poller
from rayjobwatch.engine.rows import row_of, session_of
from rayjobwatch.engine.stops import Ask, Stops
from rayjobwatch.engine.turns import Turns
from rayjobwatch.engine.ways import client_for
from rayjobwatch.model.access import Access
from rayjobwatch.model.dashboard import Dashboard
from rayjobwatch.model.facts import NO_FACTS
from rayjobwatch.model.lens import NO_LENS, Lens
from rayjobwatch.model.observation import Cluster, Listing, Nodes, Problem
from rayjobwatch.model.selector import Selector
from rayjobwatch.ray import JobDetails


class ClusterSession:
    """What one dashboard says, for the watches that joined.

    news: called with a watch for which something new was heard, and whether a job's end is among it.
    moved: called with a watch of which only a log has moved.
    first_readings: turns for those of logs, shared with other sessions.
    """

    def __init__(
        self,
        dashboard: Dashboard,
        news: Callable[[WatchKey, bool], None],
        moved: Callable[[WatchKey], None],
        first_readings: Turns | None = None,
    ) -> None:
        self.dashboard = dashboard
        self._news = news
        self._moved = moved
        self._open: dict[WatchKey, Mapping[str, OpenJob]] = {}
        self.client = client = client_for(dashboard, self._may_ask_agent)
        self._choices = Choices()
        self._circuit = Circuit(self._answers_again)
        self._nodes = NodeWatch(client)
        self._facts = ClusterFacts(client, self._nodes, self._facts_told)
        self._poller = Poller(client, self._open_jobs, self._choices, self._heard, self._nodes, self._circuit)
        self._logs = Logs(client, self.job, self._log_told, self._circuit, first_readings)
        self.clean_ups = CleanUps(client, lambda key: self._news(key, True), self._facts.take_applications)
        self._to_be_stopped: dict[WatchKey, frozenset[str]] = {}
        self._stops = Stops(client, self._logs.changed, self._asked_to_stop, self._is_to_be_stopped)
        self._failed = FailedTasks(client, self._tasks_told)
        self._polling = tasks.start(f"poll {dashboard.url}", self._poller.run)

    @property
    def has_subscribers(self) -> bool:
        """Whether any watch still needs this session."""
        return bool(self._open)

    @property
    def unreachable(self) -> Problem | None:
        """Why the dashboard does not answer, None while it does or was not asked yet."""
        return self._circuit.problem

    @property
    def refused(self) -> Access | None:
        """With what its last question was refused as not allowed, None where it was not."""
        return self.dashboard.access if self._poller.refused else None

    @property
    def last_contact(self) -> datetime | None:
        """When it answered last."""
        return self._poller.heard.time if self._poller.heard else None

    @property
    def nodes(self) -> Nodes | None:
        """The nodes as it listed them last, None where it has not."""
        return self._poller.heard.nodes if self._poller.heard else None

    @property
    def is_head_in_doubt(self) -> bool:
        """Whether it may be another head than before, and has not told its nodes."""
        return self._poller.heard is not None and self._poller.heard.is_head_in_doubt

    @property
    def cluster(self) -> Cluster:
        """The cluster as it answered last."""
        version, facts = self._poller.heard.version if self._poller.heard else None, self._facts.facts
        return Cluster(
            dashboard_url=self.dashboard.url,
            uid=self.dashboard.cluster_uid,
            session=session_of(version) if version else "",
            ray_version=version.ray_version if version else "",
            facts=facts if facts == NO_FACTS else replace(facts, idle_since=self._poller.idle_since),
        )

    def listing(self, ids: Collection[str]) -> Listing | None:
        """Return the rows of `ids` as last listed, None while the dashboard does not answer."""
        heard = self._poller.heard
        if heard is None or self.unreachable or not heard.ids.issuperset(ids):
            return None
        rows = {id_: row_of(id_, heard.jobs[id_]) for id_ in ids if id_ in heard.jobs}
        return Listing(self.cluster.session, heard.time, rows, heard.asked)

    def job(self, job_id: str) -> JobDetails | None:
        """Return a job as last listed, None where it was not asked for or is not there."""
        return self._poller.heard.jobs.get(job_id) if self._poller.heard else None

    def listing_for(self, key: WatchKey, ids: Collection[str], selector: Selector | None = None) -> Listing | None:
        """Return the rows of `ids` as listed since `key` has asked for them: of a re-used id, not the earlier run's.

        With a selector these are the rows of all that it wants, once `key` has joined with it.
        """
        if not self.has_listing_for(key, ids, selector):
            return None
        heard = self._poller.heard
        return self.listing(self._chosen(key, heard.jobs) if heard and selector else ids)

    def has_listing_for(self, key: WatchKey, ids: Collection[str], selector: Selector | None = None) -> bool:
        """Whether jobs were listed since `key` has asked for `ids`, or has begun to select by `selector`."""
        choice = self._choices.get(key)
        if (choice.key if choice else "") != (selector.key if selector else ""):
            return False  # the spec was edited since it joined
        heard = self._poller.heard
        return self._is_listed(key) and heard is not None and (choice is not None or heard.ids.issuperset(ids))

    def _is_listed(self, key: WatchKey) -> bool:
        heard, asked, choice = self._poller.heard, self._open.get(key), self._choices.get(key)
        if heard is None or asked is None or self.unreachable:
            return False
        began = [*(job.since for job in asked.values()), *([choice.since] if choice else [])]
        return all(since <= heard.began for since in began)

    def _chosen(self, key: WatchKey, ids: Iterable[str]) -> set[str]:
        """Return the jobs of `ids` that are listed and that a watch selects."""
        asked, choice, heard = self._open.get(key, {}), self._choices.get(key), self._poller.heard
        jobs = heard.jobs if heard and choice else {}
        return {id_ for id_ in ids if choice and (job := jobs.get(id_)) and choice.wants(job, asked)}

    def knows(self, job_id: str) -> bool:
        """Whether a job was listed here since somebody has wanted it."""
        return self.job(job_id) is not None or self._logs.knows(job_id)

    def join(
        self,
        key: WatchKey,
        ids: Iterable[str],
        urgent: Collection[str] = (),
        selector: Selector | None = None,
        floor: datetime | None = None,
    ) -> None:
        """Keep the session open for `key`, and ask for its open jobs `ids`; a verdict on the `urgent` is near.

        With a selector also the rows are wanted that it matches, but for those that were over before `floor`.
        """
        now = asyncio.get_running_loop().time()
        before = self._open.get(key, {})
        is_new = self._choices.set(key, selector, now) or key not in self._open
        since = now
        if choice := self._choices.get(key):
            choice.move(floor)
            since = choice.since  # what it selected was asked for then
        jobs = {id_: OpenJob(before[id_].since if id_ in before else since, id_ in urgent) for id_ in ids}
        if jobs != before or is_new:
            self._open[key] = jobs
            self._poller.wake()

    def ask_anew(self, key: WatchKey) -> None:
        """Ask once more for all that `key` has joined with: what was listed until now does not count any more."""
        now = asyncio.get_running_loop().time()
        self._open[key] = {id_: replace(job, since=now) for id_, job in self._open.get(key, {}).items()}
        if choice := self._choices.get(key):
            choice.since = now
        self._poller.wake()

    def follow(self, key: WatchKey, wanted: Mapping[Follow, Heard], lens: Lens = NO_LENS) -> None:
        """Read for `key`, which has joined, the logs in `wanted` of jobs that were listed, and no others.

        Each is read from what is known of it on, where it is not read for another watch already.
        """
        self._logs.want(key, wanted, lens)

    def heard(self, key: WatchKey, follow: Follow) -> Heard | None:
        """Return what was read of a log for `key`, None where it does not want it, or was further already."""
        return self._logs.heard(key, follow)

    @property
    def head_ahead(self) -> timedelta:
        """By how much the head's clock is ahead of ours."""
        return timedelta(seconds=self.client.server_ahead)

    def keep_stops(self, key: WatchKey, job_ids: frozenset[str]) -> None:
        """Stop for `key` no jobs but these from now on, whatever it has asked for before."""
        self._to_be_stopped[key] = job_ids

    def stop(self, ask: Ask) -> None:
        """Ask Ray to stop a job that is kept, if it is still that run of it; `stop_answer` says what came of it."""
        self._stops.ask(ask)

    def stop_answer(self, job_id: str) -> str | None:
        """Return what asking Ray to stop a job came to last: empty where it said yes, None where it is not known."""
        return self._stops.answer(job_id)

    def ask_for_tasks(self, ray_job_id: str) -> None:
        """Ask which tasks of a driver (by Ray's own id) failed, once."""
        self._failed.ask(ray_job_id)

    def failed_tasks(self, ray_job_id: str) -> Failed | None:
        """Return the tasks that failed, none where Ray did not answer; None while that is not known."""
        return self._failed.answer(ray_job_id)

    def awaits(self, job_id: str) -> bool:
        """Whether any watch waits for news of a job."""
        return any(job_id in jobs for jobs in self._open.values())

    def leave(self, key: WatchKey) -> None:
        """Do nothing more for `key`."""
        self.clean_ups.forget(key)
        self._to_be_stopped.pop(key, None)
        self._open.pop(key, None)
        self._choices.set(key, None, 0.0)
        self._logs.leave(key)

    async def close(self) -> None:
        """End the poll and all reading, and close the connections."""
        await tasks.stop(self._polling)
        await self._stops.close()
        await self._failed.close()
        await self._facts.close()
        await self.clean_ups.close()
        await self._logs.close()
        await self.client.aclose()

    def _may_ask_agent(self, address: str) -> bool:
        host = self.dashboard.agent_host
        return bool(host) and urlsplit(address).hostname == host

    def _answers_again(self) -> None:
        self._logs.wake()

    def _open_jobs(self) -> Mapping[str, OpenJob]:
        jobs: dict[str, OpenJob] = {}
        for wanted in self._open.values():
            for id_, job in wanted.items():
                other = jobs.get(id_)
                jobs[id_] = job if other is None else OpenJob(max(job.since, other.since), job.urgent or other.urgent)
        return jobs

    def _heard(self, ids: frozenset[str], everyone: bool) -> None:
        if (heard := self._poller.heard) and not self.unreachable:
            self._facts.look(session_of(heard.version))
        if not (ids or everyone or self._choices):
            return
        self._logs.changed(ids)
        over = {id_ for id_ in ids if (job := self.job(id_)) and job.status.is_terminal}
        for key, asked in self._open.items():
            choice = self._choices.get(key)
            news = ids.intersection(asked) | (self._chosen(key, ids) if choice else set())
            if everyone or news or (choice and not choice.is_told):
                self._news(key, not over.isdisjoint(news))
            if choice and self._is_listed(key):
                choice.is_told = True

    def _tasks_told(self, ray_job_id: str) -> None:
        for key, jobs in self._open.items():
            if any((job := self.job(id_)) and job.ray_job_id == ray_job_id for id_ in jobs):
                self._news(key, True)

    def _facts_told(self) -> None:
        for key in self._open:
            self._moved(key)

    def _is_to_be_stopped(self, job_id: str) -> bool:
        return any(job_id in job_ids for job_ids in self._to_be_stopped.values())

    def _asked_to_stop(self, job_id: str) -> None:
        for key, jobs in self._open.items():
            if job_id in jobs:
                self._news(key, True)

    def _log_told(self, key: WatchKey, news: LogNews) -> None:
        if news is LogNews.MOVED:
            self._moved(key)
        else:
            self._news(key, news is LogNews.ENDED)
