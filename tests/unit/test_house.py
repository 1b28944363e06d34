"""The house rules that no linter knows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Written apart, or this file would break its own rule.
FORBIDDEN = [
    re.compile(text)
    for text in (
        r"pypi\." + "org",
        "python" + "hosted",
        r"proxy\.golang\." + "org",
        r"registry\.npm" + "js",
        r"deb\.debian\." + "org",
        "/wo" + "rk/",
        r"/ro" + "ot/",
    )
]


def tracked(pattern: str = "") -> list[Path]:
    """Return the files of the checkout, whether committed yet or not."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *([pattern] if pattern else [])]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [path for name in names if (path := ROOT / name).is_file()]


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {pattern.pattern}"
        for path in tracked()
        for pattern in FORBIDDEN
        if pattern.search(path.read_text(errors="replace"))
    ]
    assert not found


def test_no_file_is_over_500_lines_and_no_function_over_60() -> None:
    found = []
    for path in tracked("*.py"):
        text = path.read_text()
        if text.count("\n") > 500:
            found.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                length = node.end_lineno - node.lineno + 1
                if length > 60:
                    found.append(f"{path.relative_to(ROOT)}: {node.name} has {length} lines")
    assert not found


@pytest.mark.parametrize("lock", ["requirements/dev.txt", "requirements/operator.txt", "requirements/build.txt"])
def test_every_locked_version_has_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pinned = re.findall(r"^\S+==.*", text, re.MULTILINE)
    assert pinned
    assert all(line.endswith("\\") for line in pinned)


def test_the_core_of_the_client_imports_neither_kubernetes_nor_ray_nor_kopf() -> None:
    code = (
        "import sys; import rayjobwatch.ray as r; [getattr(r, name) for name in r.__all__]; "
        "print(sorted({'kubernetes', 'kopf', 'ray', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
