"""What is uploaded for a job: named by its content, without what is excluded or lies outside, bounded."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from rayjobwatch.ray.api import packaging
from rayjobwatch.ray.api.packaging import pack
from rayjobwatch.ray.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "pkg" / "data").mkdir(parents=True)
    (root / "main.py").write_text("print(1)")
    (root / "run.sh").write_text("#!/bin/sh")
    (root / "run.sh").chmod(0o755)
    (root / "pkg" / "__init__.py").write_text("")
    (root / "pkg" / "data" / "big.bin").write_bytes(b"\0" * 1000)
    (root / "debug.log").write_text("noise")
    return root


def names_of(env: dict[str, Any]) -> set[str]:
    return set(archive_of(env).namelist())


def archive_of(env: dict[str, Any]) -> zipfile.ZipFile:
    _, packages = pack(env)
    return zipfile.ZipFile(io.BytesIO(packages[0].content()))


def test_a_working_dir_becomes_a_package_named_by_its_content(folder: Path) -> None:
    env, packages = pack({"working_dir": str(folder), "env_vars": {"A": "1"}})
    assert env == {"working_dir": packages[0].uri, "env_vars": {"A": "1"}}
    assert packages[0].uri.startswith("gcs://_ray_pkg_")
    assert packages[0].content() == pack({"working_dir": folder})[1][0].content()
    (folder / "main.py").write_text("print(2)")
    assert pack({"working_dir": str(folder)})[1][0].name != packages[0].name


def test_names_and_modes_are_kept(folder: Path) -> None:
    archive = archive_of({"working_dir": str(folder)})
    assert set(archive.namelist()) == {"main.py", "run.sh", "pkg/__init__.py", "pkg/data/big.bin", "debug.log"}
    assert archive.getinfo("run.sh").external_attr >> 16 & 0o777 == 0o755


@pytest.mark.parametrize(
    ("patterns", "left_out"),
    [
        (["*.log"], {"debug.log"}),
        (["data/"], {"pkg/data/big.bin"}),
        (["/pkg"], {"pkg/__init__.py", "pkg/data/big.bin"}),
        (["pkg/*.py"], {"pkg/__init__.py"}),
        (["log/", "/data"], set()),
    ],
)
def test_excludes_leave_out_what_a_gitignore_would(folder: Path, patterns: list[str], left_out: set[str]) -> None:
    everything = names_of({"working_dir": str(folder)})
    assert everything - names_of({"working_dir": str(folder), "excludes": patterns}) == left_out


def test_no_link_is_followed_out_of_the_folder(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "inner").symlink_to("main.py")
    (folder / "outer").symlink_to("/etc/hostname")
    (folder / "loop").symlink_to(".")
    (folder / "nowhere").symlink_to("missing")
    names = names_of({"working_dir": str(folder)})
    assert "inner" in names
    assert names.isdisjoint({"outer", "loop", "nowhere"})
    assert {name for name in ("outer", "loop", "nowhere") if repr(name) in caplog.text} == {"outer", "loop", "nowhere"}


def test_modules_keep_their_own_name_inside(folder: Path) -> None:
    import json

    assert names_of({"py_modules": [str(folder / "pkg")]}) == {"pkg/__init__.py", "pkg/data/big.bin"}
    assert "json/decoder.py" in names_of({"py_modules": [json]})
    assert names_of({"py_modules": [str(folder / "main.py")]}) == {"main.py"}


def test_a_wheel_keeps_a_name_that_pip_reads_and_is_told_by_its_content(tmp_path: Path) -> None:
    wheel = tmp_path / "pkg-1.0-py3-none-any.whl"
    wheel.write_bytes(b"one")
    first = pack({"py_modules": [str(wheel)]})[1][0].name
    wheel.write_bytes(b"two")
    assert pack({"py_modules": [str(wheel)]})[1][0].name != first
    assert first.startswith("pkg-1.0-0_")
    assert first.endswith("-py3-none-any.whl")


@pytest.mark.parametrize("uri", ["s3://bucket/x.zip", "gcs://_ray_pkg_x.zip", "https://example.com/x.zip"])
def test_what_is_remote_stays_as_it_is(uri: str) -> None:
    assert pack({"working_dir": uri, "py_modules": [uri]}) == ({"working_dir": uri, "py_modules": [uri]}, [])


def test_a_package_over_the_limit_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    monkeypatch.setattr(packaging, "LARGEST_PACKAGE", 2_000)
    (folder / "noise").write_bytes(random.Random(1).randbytes(2_100))
    with pytest.raises(InvalidInputError, match="excludes"):
        pack({"working_dir": str(folder)})


@pytest.mark.parametrize(
    "env",
    [
        {"working_dir": "/does/not/exist"},
        {"working_dir": 5},
        {"working_dir": ""},
        {"py_modules": "pkg"},
        {"py_modules": [5]},
        {"working_dir": ".", "excludes": "x"},
        {"working_dir": ".", "excludes": ["!x"]},
        {"working_dir": "/etc/hostname"},
    ],
)
def test_what_is_no_folder_module_or_pattern_is_400(env: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        pack(env)
