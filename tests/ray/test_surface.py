"""What the clients look like: names, arguments, defaults, constructors, exported types."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import pytest

import rayjobwatch.ray as package
from rayjobwatch.ray import AsyncRayClient, ClientError, RayClient, StreamLimits
from tests.ray.flavours import Caller, error_of, make_client

if TYPE_CHECKING:
    from tests.ray.fakedashboard import FakeDashboard

TAILS = ("tail_job_logs", "websocket_tail_job_logs", "stream_tail_job_logs")
JOBS = (
    "list_jobs",
    "get_job",
    "get_job_logs",
    "submit_job",
    "stop_job",
    "delete_job",
    "wait_until_status",
    "get_version",
)
CLUSTER = (
    "list_nodes",
    "get_node",
    "list_tasks",
    "get_task",
    "list_actors",
    "list_placement_groups",
    "cluster_resources",
)
SERVE = (
    "list_serve_applications",
    "get_serve_application",
    "deploy_serve_application",
    "delete_serve_application",
)
CLOSING = {"close", "aclose"}


def public(kind: type) -> dict[str, inspect.Signature]:
    """Return name and signature of each public method."""
    members = inspect.getmembers(kind, callable)
    return {name: inspect.signature(member) for name, member in members if not name.startswith("_")}


def shape(signature: inspect.Signature) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in signature.parameters.values()]


@pytest.mark.requirement("C-04")
def test_both_flavours_have_the_same_methods_arguments_and_defaults() -> None:
    sync, asynchronous = public(RayClient), public(AsyncRayClient)
    assert set(sync) - CLOSING == set(asynchronous) - CLOSING
    differing = {
        name: (sync[name], asynchronous[name])
        for name in set(sync) - CLOSING
        if shape(sync[name]) != shape(asynchronous[name])
    }
    assert differing.keys() <= {"tail_job_log_batches"}, differing  # its `lookup` is sync or async


@pytest.mark.requirement("C-04")
def test_both_constructors_take_the_same() -> None:
    assert shape(inspect.signature(RayClient)) == shape(inspect.signature(AsyncRayClient))


@pytest.mark.requirement("C-08")
@pytest.mark.parametrize("kind", [RayClient, AsyncRayClient])
def test_there_is_a_method_for_every_verb(kind: type) -> None:
    assert {*TAILS, *JOBS, *CLUSTER, *SERVE} <= set(public(kind))


@pytest.mark.requirement("D-02", "S-06")
@pytest.mark.parametrize("kind", [RayClient, AsyncRayClient])
@pytest.mark.parametrize("name", TAILS)
def test_the_tails_connect_within_30_seconds(kind: type, name: str) -> None:
    parameters = inspect.signature(getattr(kind, name)).parameters
    assert parameters["timeout"].default == 30.0
    if name == "tail_job_logs":
        assert parameters["protocol"].default == "auto"
        assert parameters["protocol"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.requirement("C-09", "J-20")
@pytest.mark.parametrize("name", ["StreamLimits", "ClientError", "JobDetails", "JobInfo", "JobType", "JobStatus"])
def test_the_pages_types_are_exported(name: str) -> None:
    assert getattr(package, name).__doc__ or name == "JobInfo"
    assert name in package.__all__


@pytest.mark.requirement("C-09")
@pytest.mark.parametrize("name", ["check_id", "check_seconds", "check_url", "sanitize"])
def test_the_helpers_are_public_and_documented(name: str) -> None:
    assert getattr(package, name).__doc__
    assert name in package.__all__


@pytest.mark.requirement("C-09", "E-11")
def test_the_helpers_do_their_work() -> None:
    assert package.check_id("raysubmit_abc") == "raysubmit_abc"
    assert package.check_seconds(3) == 3.0
    assert package.check_url("http://head:8265/") == "http://head:8265"
    assert "s3cret" not in package.sanitize("Authorization: Bearer s3cret\n at http://me:s3cret@head")


@pytest.mark.requirement("J-20")
def test_a_jobs_type_tells_submissions_from_drivers() -> None:
    assert {str(kind) for kind in package.JobType} == {"SUBMISSION", "DRIVER"}
    assert package.JobInfo is package.JobDetails


@pytest.mark.requirement("J-15")
def test_a_status_is_rays_own_text_and_knows_the_end() -> None:
    over = {str(status): status.is_terminal for status in package.JobStatus}
    assert over == {"PENDING": False, "RUNNING": False, "SUCCEEDED": True, "STOPPED": True, "FAILED": True}
    assert package.JobStatus.RUNNING == "RUNNING"


@pytest.mark.requirement("D-17", "L-01", "L-02", "L-03", "L-04", "L-05")
def test_the_default_limits_are_the_pages() -> None:
    limits = StreamLimits()
    assert (limits.max_messages, limits.max_lines, limits.max_bytes) == (10_000, 50_000, 50 * 1024 * 1024)
    assert (limits.max_message_size, limits.queue_size) == (10_240, 1_000)


@pytest.mark.requirement("L-11")
@pytest.mark.parametrize("name", ["max_messages", "max_lines", "max_bytes", "max_message_size", "queue_size"])
@pytest.mark.parametrize("value", [0, -1, "10", math.nan, 1.5, True])
def test_a_senseless_limit_is_400_and_names_itself(name: str, value: Any) -> None:
    with pytest.raises(ClientError, match=name) as caught:
        StreamLimits(**{name: value})
    assert caught.value.status_code == 400


@pytest.mark.requirement("D-16", "C-03")
@pytest.mark.parametrize("timeout", [None, 3, 2.5, {"connect": 1, "read": 2}, {"read": 2}])
async def test_timeouts_are_taken_as_a_dict_or_a_number(flavour: str, timeout: Any) -> None:  # noqa: ASYNC109
    await make_client(flavour, "http://127.0.0.1:1", timeout=timeout).shut()


@pytest.mark.requirement("D-16", "E-02")
@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, "3", {"connect": 0}, {"conect": 1}, [1, 2], True])
def test_a_senseless_timeout_is_400(flavour: str, timeout: Any) -> None:
    with pytest.raises(ClientError, match="timeout") as caught:
        make_client(flavour, "http://127.0.0.1:1", timeout=timeout)
    assert caught.value.status_code == 400


@pytest.mark.requirement("C-02", "D-16")
@pytest.mark.parametrize(
    "url",
    [
        "ftp://head:8265",
        "head:8265",
        "",
        None,
        "http://",
        "http://head:99999",
        "ws://head",
        "http://me:pw@head",
        "http://head/?a=b",
        "http://he ad",
        "http://head\n",
        b"http://head",
    ],
)
def test_a_wrong_url_is_400_and_shows_no_password(flavour: str, url: Any) -> None:
    with pytest.raises(ClientError) as caught:
        make_client(flavour, url)
    assert caught.value.status_code == 400
    assert "pw" not in str(caught.value)


@pytest.mark.requirement("D-16", "C-05")
@pytest.mark.parametrize("token", ["two\r\nHost: x", "", 5, b"x", "a\x00b", "caf\u00e9"])
def test_a_token_that_fits_no_header_is_400(flavour: str, token: Any) -> None:
    with pytest.raises(ClientError, match="token") as caught:
        make_client(flavour, "http://head:8265", token)
    assert caught.value.status_code == 400


@pytest.mark.requirement("D-16", "C-07")
async def test_the_token_shows_in_no_repr(flavour: str) -> None:
    client = make_client(flavour, "http://127.0.0.1:1", "s3cret-token")
    shown = repr(client.raw) + str(client.raw) + repr(vars(client.raw))
    await client.shut()
    assert "s3cret" not in shown


@pytest.mark.requirement("D-09", "J-11")
@pytest.mark.parametrize("job_id", ["raysubmit_abc123", "job-12345", "0123456789abcdef0123456789abcdef", "02000000"])
async def test_ids_of_every_shape_are_taken(fake: FakeDashboard, client: Caller, job_id: str) -> None:
    fake.add_job(job_id, b"x\n")
    assert (await client.get_job(job_id))["submission_id"] == job_id
    assert await client.lines(job_id) == ["x"]


@pytest.mark.requirement("J-16", "J-15", "J-05", "D-06")
async def test_the_other_names_say_the_same(fake: FakeDashboard, client: Caller) -> None:
    fake.add_job("j", b"x\n")
    assert await client.get_job_info("j") == await client.get_job("j")
    assert await client.get_job_status("j") == "SUCCEEDED"
    assert (await client.get_job_status("j")).is_terminal
    assert (await error_of(client.get_job_status("nope"))).status_code == 404


@pytest.mark.requirement("D-03", "D-04")
@pytest.mark.parametrize("protocol", ["AUTO", "ws", "", 3, None])
async def test_an_unknown_protocol_is_400_and_names_the_known_ones(
    fake: FakeDashboard, client: Caller, protocol: Any
) -> None:
    error = await error_of(client.tail_job_logs("j", protocol=protocol))
    assert error.status_code == 400
    assert all(name in str(error) for name in ("auto", "websocket", "http"))
    assert fake.requests == []
