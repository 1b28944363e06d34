"""Nodes, tasks, actors, resources and Serve applications against the fake dashboard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ray import faults
from tests.ray.fakestate import application, node, task
from tests.ray.flavours import Caller, error_of, make_client

if TYPE_CHECKING:
    from tests.ray.fakedashboard import FakeDashboard
    from tests.ray.wire import Exchange


@pytest.mark.requirement("N-01", "U-08", "D-07")
async def test_more_nodes_than_a_page_of_the_state_api(fake: FakeDashboard, client: Caller) -> None:
    fake.state.nodes = [node(f"{number:056x}", "ALIVE" if number % 2 else "DEAD") for number in range(250)]
    nodes = await client.list_nodes()
    assert isinstance(nodes, list)
    assert len({one["node_id"] for one in nodes}) == 250
    assert {one["state"] for one in nodes} == {"ALIVE", "DEAD"}


@pytest.mark.requirement("N-02", "J-09")
@pytest.mark.parametrize(("state", "alive"), [("ALIVE", True), ("DEAD", False)])
async def test_alive_is_a_bool(fake: FakeDashboard, client: Caller, state: str, alive: bool) -> None:
    fake.state.nodes.append(node("b" * 56, state))
    assert (await client.get_node("b" * 56))["alive"] is alive
    assert (await error_of(client.get_node("c" * 56))).status_code == 404


@pytest.mark.requirement("N-03", "D-07")
async def test_all_tasks_come_and_filters_are_passed_on(fake: FakeDashboard, client: Caller) -> None:
    fake.state.tasks = [task(f"{number:048x}", name="a" if number % 3 else "b") for number in range(1_000)]
    tasks = await client.list_tasks()
    assert isinstance(tasks, list)
    assert len(tasks) == 1_000
    assert not tasks.truncated  # type: ignore[attr-defined]
    some = await client.list_tasks(filters=[("name", "=", "b"), ("state", "!=", "FAILED")])
    assert len(some) == 334
    query = fake.requests[-1].query
    assert query["filter_keys"] == ["name", "state"]
    assert query["filter_predicates"] == ["=", "!="]
    assert query["filter_values"] == ["b", "FAILED"]


@pytest.mark.requirement("N-03")
async def test_truncation_is_told(fake: FakeDashboard, client: Caller) -> None:
    fake.state.tasks = [task(f"{number:048x}") for number in range(10_050)]
    tasks = await client.list_tasks()
    assert tasks.truncated
    assert (len(tasks), tasks.total) == (10_000, 10_050)


@pytest.mark.requirement("N-03", "E-02")
@pytest.mark.parametrize("filters", ["name=b", [("name", "<", "b")], [("name", "=")], [("", "=", "x")], [5]])
async def test_a_senseless_filter_is_400(fake: FakeDashboard, client: Caller, filters: Any) -> None:
    assert (await error_of(client.list_tasks(filters=filters))).status_code == 400
    assert fake.requests == []


@pytest.mark.requirement("N-04")
async def test_every_attempt_of_a_task_can_be_reached(fake: FakeDashboard, client: Caller) -> None:
    fake.state.tasks = [task("b" * 48, 0, "FAILED"), task("b" * 48, 2, "FINISHED"), task("b" * 48, 1, "FAILED")]
    assert (await client.get_task("b" * 48))["attempt_number"] == 2
    for attempt in range(3):
        assert (await client.get_task("b" * 48, attempt=attempt))["attempt_number"] == attempt
    assert (await error_of(client.get_task("c" * 48))).status_code == 404
    assert (await error_of(client.get_task("b" * 48, attempt=3))).status_code == 404


@pytest.mark.requirement("N-07")
async def test_actors_and_placement_groups_are_listed(fake: FakeDashboard, client: Caller) -> None:
    fake.state.actors = [{"actor_id": "d" * 32, "state": "ALIVE", "class_name": "A"}]
    fake.state.placement_groups = [{"placement_group_id": "e" * 36, "state": "CREATED"}]
    assert [actor["actor_id"] for actor in await client.list_actors()] == ["d" * 32]
    assert [group["state"] for group in await client.list_placement_groups()] == ["CREATED"]


@pytest.mark.requirement("V-01", "D-07", "U-09")
async def test_applications_are_listed_also_where_serve_does_not_run(fake: FakeDashboard, client: Caller) -> None:
    assert list(await client.list_serve_applications()) == []
    fake.state.applications = {"a": application("a"), "b": application("b", "imperative")}
    apps = await client.list_serve_applications()
    assert {app["name"]: app["status"] for app in apps} == {"a": "RUNNING", "b": "RUNNING"}
    assert json.dumps(apps)


@pytest.mark.requirement("V-02")
async def test_an_application_is_found_by_its_name(fake: FakeDashboard, client: Caller) -> None:
    fake.state.applications = {"my-app": application("my-app", status="DEPLOYING")}
    assert (await client.get_serve_application("my-app"))["status"] == "DEPLOYING"
    assert (await error_of(client.get_serve_application("other"))).status_code == 404


@pytest.mark.requirement("V-03", "U-09")
async def test_deleting_one_application_puts_the_others_again_unchanged(fake: FakeDashboard, client: Caller) -> None:
    fake.state.applications = {name: application(name) for name in ("a", "b", "c")}
    kept = [fake.state.applications[name]["deployed_app_config"] for name in ("a", "c")]
    await client.delete_serve_application("b")
    assert fake.state.serve_puts[-1]["applications"] == kept
    assert fake.state.serve_puts[-1]["http_options"] == {"host": "127.0.0.1", "port": 8000}
    assert set(fake.state.applications) == {"a", "c"}
    assert not [request for request in fake.requests if request.method == "DELETE"]


@pytest.mark.requirement("V-03")
async def test_deleting_an_imperative_application_leaves_the_others(fake: FakeDashboard, client: Caller) -> None:
    fake.state.applications = {
        "a": application("a"),
        "b": application("b", "imperative"),
        "c": application("c", "imperative"),
    }
    await client.delete_serve_application("b")
    assert set(fake.state.applications) == {"a", "c"}
    assert not [request for request in fake.requests if request.method == "DELETE"]


@pytest.mark.requirement("V-03", "U-09")
async def test_several_applications_are_deleted_at_once(fake: FakeDashboard, client: Caller) -> None:
    sources = dict.fromkeys("ac", "declarative") | dict.fromkeys("bde", "imperative")
    fake.state.applications = {name: application(name, source) for name, source in sources.items()}
    fake.state.applications["c"]["deployed_app_config"]["route_prefix"] = "/"
    deleted = await client.delete_serve_applications({"a", "b", "e", "gone"})
    assert [(app.name, app.is_declarative) for app in deleted] == [("a", True), ("b", False), ("e", False)]
    assert set(fake.state.applications) == {"c", "d"}
    assert len(fake.state.serve_puts) == 2  # one to take over what is imperative
    assert await client.delete_serve_applications({"a", "b"}) == []
    assert len(fake.state.serve_puts) == 2


@pytest.mark.requirement("V-03")
@pytest.mark.parametrize("source", ["declarative", "imperative"])
async def test_an_application_that_is_being_deleted_is_not_put_again(
    fake: FakeDashboard, client: Caller, source: str
) -> None:
    fake.state.applications = {"a": application("a", source, "DELETING"), "b": application("b")}
    await client.delete_serve_application("a", wait=None)
    assert [app.status for app in await client.delete_serve_applications(["a"], wait=None)] == ["DELETING"]
    assert fake.state.serve_puts == []
    error = await error_of(client.delete_serve_applications(["a"], wait=0.1))
    assert error.status_code == 408


@pytest.mark.requirement("V-03")
async def test_what_is_deployed_while_an_application_is_taken_over_stays(fake: FakeDashboard, client: Caller) -> None:
    fake.state.applications = {"a": application("a", "imperative")}

    async def put(exchange: Exchange) -> None:
        await fake.state._serve_put(exchange)
        if len(fake.state.serve_puts) == 1:
            fake.state.applications["new"] = application("new")

    fake.on("PUT", "/api/serve/applications/", put)
    await client.delete_serve_application("a")
    assert set(fake.state.applications) == {"new"}


@pytest.mark.requirement("V-03", "E-03")
async def test_deleting_an_unknown_application_is_404_and_changes_nothing(fake: FakeDashboard, client: Caller) -> None:
    fake.state.applications = {"a": application("a")}
    assert (await error_of(client.delete_serve_application("b"))).status_code == 404
    assert fake.state.serve_puts == []


@pytest.mark.requirement("V-05", "C-08")
async def test_deploying_one_application_leaves_the_others(fake: FakeDashboard, client: Caller) -> None:
    fake.state.applications = {"a": application("a"), "i": application("i", "imperative")}
    before = fake.state.applications["a"]["deployed_app_config"]
    config = {"name": "new", "route_prefix": "/new", "import_path": "m:app"}
    await client.deploy_serve_application(config)
    assert fake.state.serve_puts[-1]["applications"] == [before, config]
    assert set(fake.state.applications) == {"a", "i", "new"}
    await client.deploy_serve_application({**config, "route_prefix": "/newer"})
    assert [app["name"] for app in fake.state.serve_puts[-1]["applications"]] == ["a", "new"]


@pytest.mark.requirement("V-05", "E-02")
@pytest.mark.parametrize(
    "config", [{}, {"name": "x"}, {"import_path": "m:app"}, "x", None, {"name": 5, "import_path": "m:a"}]
)
async def test_a_config_without_name_or_import_path_is_400(fake: FakeDashboard, client: Caller, config: Any) -> None:
    assert (await error_of(client.deploy_serve_application(config))).status_code == 400
    assert fake.state.serve_puts == []


@pytest.mark.requirement("V-05")
async def test_rays_reason_against_a_config_is_told(fake: FakeDashboard, client: Caller) -> None:
    text = "Traceback (most recent call last):\n  File x\nValueError: route_prefix must start with '/'"
    fake.on("PUT", "/api/serve/applications/", faults.answer(400, text))
    error = await error_of(client.deploy_serve_application({"name": "a", "import_path": "m:app", "route_prefix": "x"}))
    assert error.status_code == 400
    assert "route_prefix must start with" in str(error)
    assert "File x" not in str(error)


NAMES = st.text(min_size=1, max_size=40).filter(lambda name: name.isprintable() and name.strip() == name)


@pytest.mark.requirement("V-04", "C-06")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
def test_an_applications_name_is_free_text_and_cannot_change_the_path(
    fake: FakeDashboard, flavour: str, name: str
) -> None:
    import asyncio

    async def use() -> None:
        client = make_client(flavour, fake.url)
        try:
            assert (await client.get_serve_application(name))["name"] == name
            await client.delete_serve_application(name)
            assert (await error_of(client.get_serve_application(name))).status_code == 404
        finally:
            await client.shut()

    fake.state.applications = {name: application(name), "other \u00fc/../x": application("other \u00fc/../x")}
    if name == "other \u00fc/../x":
        return
    asyncio.run(use())
    assert set(fake.state.applications) == {"other \u00fc/../x"}
    assert {request.path for request in fake.requests} == {"/api/serve/applications/"}
