"""What the reconciler keeps in memory of a watch."""

import copy

from rayjobwatch.engine.watch import Watch
from rayjobwatch.kube.client import Body
from tests.unit.observations import T0

BODY: Body = {"metadata": {"name": "train", "namespace": "ml", "uid": "u1", "resourceVersion": "8"}}


def test_of_a_status_that_was_written_one_copy_is_kept() -> None:
    watch, status = Watch.from_body(BODY, T0), {"state": "Running"}
    newest = BODY | {"status": copy.deepcopy(status)}
    watch.wrote(status, newest, newest, clock=1.0)
    assert watch.body["status"] is watch.status is status


def test_a_status_that_the_api_server_keeps_otherwise_is_not_taken_for_ours() -> None:
    watch, status = Watch.from_body(BODY, T0), {"state": "Running", "unknown": 1}
    newest = BODY | {"status": {"state": "Running"}}
    watch.wrote(status, newest, newest, clock=1.0)
    assert watch.body["status"] == {"state": "Running"}
    assert watch.status is status
