"""A failure of which the log tells nothing is told by the tasks that failed."""

import pytest

from tests.cluster.test_journey import fresh
from tests.cluster.watches import Watches
from tests.localcluster.rayhead import RayHead

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.real_ray, pytest.mark.timeout(120)]

SILENT = """python -c "
import os, sys, ray
ray.init(log_to_driver=False, logging_level='CRITICAL')
@ray.remote(max_retries=0)
def load_shard():
    os._exit(1)
try:
    ray.get(load_shard.remote())
except ray.exceptions.RayError:
    sys.exit(3)
" 2>/dev/null"""


def test_a_job_that_fails_silently_names_its_failed_tasks(watches: Watches, ray_head: RayHead) -> None:
    name = fresh()
    watches.apply(name, ray_head.submit(SILENT, submission_id=name))
    status = watches.wait(name)
    assert status["summary"] == "exit code 3: failed tasks: WORKER_DIED (load_shard)"
