"""Local files for a job's `runtime_env`: zipped as Ray wants them, named by their content, bounded."""

import hashlib
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from rayjobwatch.ray.errors import InvalidInputError

LARGEST_PACKAGE: Final = 100 * 1024 * 1024  # the dashboard takes no larger body
_LOG: Final = logging.getLogger("rayjobwatch.ray")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Package:
    """A file to be uploaded under `name`, which is made of its content; `content` builds it when it is needed."""

    name: str
    content: Callable[[], bytes]

    @property
    def uri(self) -> str:
        """What a `runtime_env` calls it."""
        return f"gcs://{self.name}"


def pack(runtime_env: Mapping[str, Any] | None) -> tuple[dict[str, Any] | None, list[Package]]:
    """Replace local paths in `working_dir` and `py_modules` by packages; return both.

    `excludes` (patterns as in a .gitignore: `*.ckpt`, `data/`, `/build`) hold for all of them. A symbolic link that
    leads out of its folder, or to a folder, is left out with a warning in the log. A package over 100 MiB is a 400.
    """
    if runtime_env is None:
        return None, []
    try:
        return _pack(dict(runtime_env))
    except (OSError, UnicodeError) as error:
        failure = error
    raise InvalidInputError(f"runtime_env: a local file cannot be read ({type(failure).__name__})")


def _pack(env: dict[str, Any]) -> tuple[dict[str, Any], list[Package]]:
    excludes = _excludes(env.pop("excludes", None))
    packages: list[Package] = []
    if env.get("working_dir") is not None:
        env["working_dir"] = _packed(env["working_dir"], "working_dir", excludes, packages)
    if env.get("py_modules") is not None:
        modules = env["py_modules"]
        if not isinstance(modules, (list, tuple)):
            raise InvalidInputError("runtime_env['py_modules'] must be a list of modules or paths")
        env["py_modules"] = [_packed(each, "py_modules", excludes, packages) for each in modules]
    return env, packages


def _excludes(value: Any) -> Sequence[str]:
    if value is None:
        return ()
    good = isinstance(value, (list, tuple)) and all(isinstance(each, str) and each.strip("/") for each in value)
    if not good or any(each.startswith("!") for each in value):
        raise InvalidInputError("runtime_env['excludes'] must be a list of patterns without '!'")
    return tuple(value)


def _packed(source: Any, field: str, excludes: Sequence[str], packages: list[Package]) -> str:
    if isinstance(source, str) and "://" in source:
        return source
    package = _package(_path_of(source, field), field, excludes)
    packages.append(package)
    return package.uri


def _path_of(source: Any, field: str) -> Path:
    if isinstance(source, ModuleType):
        places = list(getattr(source, "__path__", [])) or [getattr(source, "__file__", None)]
        if len(places) != 1 or not isinstance(places[0], str):
            raise InvalidInputError(f"runtime_env[{field!r}]: module {source.__name__!r} has no one place on disk")
        source = places[0]
    if not isinstance(source, (str, Path)) or not str(source) or "\0" in str(source):
        raise InvalidInputError(f"runtime_env[{field!r}] must hold paths, URIs or modules")
    path = Path(source).expanduser()
    if not path.exists():
        raise InvalidInputError(f"runtime_env[{field!r}]: {path.name!r} does not exist")
    return path


def _package(path: Path, field: str, excludes: Sequence[str]) -> Package:
    if path.is_dir():
        root = path.resolve()
        prefix = "" if field == "working_dir" else f"{root.name}/"
        return _zip_of([(prefix + name, file) for name, file in _files(root, excludes)])
    if path.suffix in {".zip", ".whl"}:
        return _file_as_it_is(path)
    if path.suffix == ".py" and field == "py_modules":
        return _zip_of([(path.name, path)])
    raise InvalidInputError(f"runtime_env[{field!r}]: {path.name!r} must be a folder, a .zip, a .whl or a module")


def _file_as_it_is(path: Path) -> Package:
    data = path.read_bytes() if path.stat().st_size <= LARGEST_PACKAGE else b""
    if not data:
        raise InvalidInputError(f"{path.name!r} is empty or larger than {LARGEST_PACKAGE} bytes")
    digest = hashlib.sha256(data).hexdigest()[:32]
    name = _wheel_name(path, digest) if path.suffix == ".whl" else f"_ray_pkg_{digest}.zip"
    return Package(name, lambda: data)


def _wheel_name(path: Path, digest: str) -> str:
    """Put the digest where a wheel's name may hold a build tag; pip reads the rest of the name."""
    parts = path.stem.split("-")
    if len(parts) not in {5, 6}:
        raise InvalidInputError(f"{path.name!r} is not the name of a wheel")
    build = parts[2] if len(parts) == 6 else "0"
    return "-".join([*parts[:2], f"{build}_{digest}", *parts[-3:]]) + ".whl"


def _files(root: Path, excludes: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield relative name and place of each file, sorted; links are followed only inside `root`, and to files only."""
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(each for each in folders if not _excluded(_name(here / each, root) + "/", excludes))
        for each in [*folders, *sorted(names)]:
            file = here / each
            name = _name(file, root)
            if not _excluded(name, excludes) and (file.is_symlink() or each not in folders):
                yield from _entry(file, name, root)


def _entry(file: Path, name: str, root: Path) -> Iterator[tuple[str, Path]]:
    if file.is_symlink() and not (file.resolve().is_relative_to(root) and file.is_file()):
        _LOG.warning("left out of the job's package: the link %r, which leads to no file inside %r", name, root.name)
    elif file.is_file():  # neither a socket nor a pipe
        yield name, file


def _name(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _excluded(name: str, patterns: Sequence[str]) -> bool:
    return any(_matches(name, pattern) for pattern in patterns)


def _matches(name: str, pattern: str) -> bool:
    if pattern.endswith("/") and not name.endswith("/"):
        return False
    path, wanted = name.rstrip("/"), pattern.rstrip("/")
    if "/" in wanted:
        return fnmatchcase(path, wanted.lstrip("/"))
    return fnmatchcase(path.rpartition("/")[2], wanted)


def _zip_of(files: list[tuple[str, Path]]) -> Package:
    digest = hashlib.sha256()
    size = 0
    for name, file in files:
        mode = file.stat().st_mode & 0o777
        size += file.stat().st_size
        if size > 10 * LARGEST_PACKAGE:
            raise _too_large()
        digest.update(f"{name}\0{mode:o}\0{file.stat().st_size}\0".encode("utf-8", "surrogateescape"))
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    if size > LARGEST_PACKAGE:
        data = _zipped(files)  # may be small enough once compressed
        return Package(f"_ray_pkg_{digest.hexdigest()[:32]}.zip", lambda: data)
    return Package(f"_ray_pkg_{digest.hexdigest()[:32]}.zip", lambda: _zipped(files))


def _zipped(files: list[tuple[str, Path]]) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = (file.stat().st_mode & 0o777 | 0o100000) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, file.read_bytes())
            if target.tell() > LARGEST_PACKAGE:
                raise _too_large()
    return target.getvalue()


def _too_large() -> InvalidInputError:
    return InvalidInputError(
        f"runtime_env: the files make a package of more than {LARGEST_PACKAGE >> 20} MiB; "
        "leave some out by runtime_env['excludes'] or put them where the cluster can fetch them"
    )
