"""Local folders and modules of a runtime environment are zipped, uploaded once, and nothing else is."""

from __future__ import annotations

import io
import os
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.ray.flavours import Caller, error_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ray.fakedashboard import FakeDashboard


def make_tree(root: Path) -> Path:
    (root / "pkg" / "data").mkdir(parents=True)
    (root / "main.py").write_text("print('hi')\n")
    (root / "pkg" / "__init__.py").write_text("")
    (root / "pkg" / "data" / "big.bin").write_bytes(b"\0" * 1000)
    (root / "notes.log").write_text("x")
    return root


def uploaded(fake: FakeDashboard) -> set[str]:
    (content,) = fake.packages.values()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def submitted(fake: FakeDashboard) -> Any:
    return [request for request in fake.requests if request.method == "POST"][-1].json()["runtime_env"]


@pytest.mark.requirement("J-12", "J-10")
async def test_a_folder_is_uploaded_once(fake: FakeDashboard, client: Caller, tmp_path: Path) -> None:
    make_tree(tmp_path)
    for job_id in ("one", "two"):
        await client.submit_job("python main.py", submission_id=job_id, runtime_env={"working_dir": str(tmp_path)})
        assert submitted(fake)["working_dir"] == f"gcs://{next(iter(fake.packages))}"
    assert len([request for request in fake.requests if request.method == "PUT"]) == 1
    assert uploaded(fake) == {"main.py", "pkg/__init__.py", "pkg/data/big.bin", "notes.log"}


@pytest.mark.requirement("J-12")
async def test_a_changed_file_is_another_package(fake: FakeDashboard, client: Caller, tmp_path: Path) -> None:
    make_tree(tmp_path)
    await client.submit_job("true", submission_id="one", runtime_env={"working_dir": str(tmp_path)})
    (tmp_path / "main.py").write_text("print('ho')\n")
    await client.submit_job("true", submission_id="two", runtime_env={"working_dir": str(tmp_path)})
    assert len(fake.packages) == 2


@pytest.mark.requirement("J-12")
async def test_the_working_folder_itself(
    fake: FakeDashboard, client: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_tree(tmp_path))
    await client.submit_job("true", submission_id="j", runtime_env={"working_dir": "./"})
    assert "main.py" in uploaded(fake)


@pytest.mark.requirement("J-12")
async def test_excludes_are_left_out(fake: FakeDashboard, client: Caller, tmp_path: Path) -> None:
    env = {"working_dir": str(make_tree(tmp_path)), "excludes": ["*.log", "/pkg/data/"]}
    await client.submit_job("true", submission_id="j", runtime_env=env)
    assert uploaded(fake) == {"main.py", "pkg/__init__.py"}


@pytest.mark.requirement("J-12")
async def test_no_link_leads_out_of_the_folder(fake: FakeDashboard, client: Caller, tmp_path: Path) -> None:
    secret = tmp_path / "outside"
    secret.mkdir()
    (secret / "key").write_text("s3cret")
    folder = make_tree(tmp_path / "inside")
    (folder / "file-link").symlink_to(secret / "key")
    (folder / "dir-link").symlink_to(secret)
    (folder / "up").symlink_to("..")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe")
    await client.submit_job("true", submission_id="j", runtime_env={"working_dir": str(folder)})
    assert fake.packages
    assert all(b"s3cret" not in content for content in fake.packages.values())
    for content in fake.packages.values():
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert all(b"s3cret" not in archive.read(name) for name in archive.namelist())


@pytest.mark.requirement("J-12")
async def test_a_folder_over_rays_limit_is_400_before_anything_is_sent(
    fake: FakeDashboard, client: Caller, tmp_path: Path
) -> None:
    with (tmp_path / "huge.bin").open("wb") as file:
        file.truncate(1100 << 20)  # sparse
    call = client.submit_job("true", submission_id="j", runtime_env={"working_dir": str(tmp_path)})
    assert (await error_of(call)).status_code == 400
    assert not [request for request in fake.requests if request.method != "GET"]


@pytest.mark.requirement("J-10", "E-02")
@pytest.mark.parametrize("where", ["no/such/folder", "main.py", ""])
async def test_a_folder_that_is_none_is_400(fake: FakeDashboard, client: Caller, tmp_path: Path, where: str) -> None:
    make_tree(tmp_path)
    env = {"working_dir": str(tmp_path / where) if where else ""}
    assert (await error_of(client.submit_job("true", submission_id="j", runtime_env=env))).status_code == 400
    assert fake.jobs == {}


@pytest.mark.requirement("J-10")
async def test_modules_are_uploaded_by_path_and_by_object(fake: FakeDashboard, client: Caller, tmp_path: Path) -> None:
    import tests.ray.faults as single_file
    from tests import unit as package

    module = make_tree(tmp_path) / "pkg"
    env = {"py_modules": [str(module), package, single_file, "gcs://already.zip"]}
    await client.submit_job("true", submission_id="j", runtime_env=env)
    uris = submitted(fake)["py_modules"]
    assert len(uris) == 4
    assert uris[-1] == "gcs://already.zip"
    assert all(uri.startswith("gcs://") for uri in uris)
    names = set()
    for content in fake.packages.values():
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names |= set(archive.namelist())
    assert "pkg/__init__.py" in names  # a module keeps its own folder


@pytest.mark.requirement("J-10")
@pytest.mark.parametrize("uri", ["gcs://x.zip", "https://example.com/x.zip", "s3://bucket/x.zip"])
async def test_a_remote_folder_is_passed_on(fake: FakeDashboard, client: Caller, uri: str) -> None:
    await client.submit_job("true", submission_id="j", runtime_env={"working_dir": uri})
    assert submitted(fake)["working_dir"] == uri
    assert fake.packages == {}
