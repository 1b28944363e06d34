"""`make test-oldest`: the tests on real Ray, against the oldest Ray that the client supports."""

from __future__ import annotations

import os
import subprocess
import sys

OLDEST = "2.9.3"


def main() -> int:
    """Run pytest with that Ray; further arguments are pytest's."""
    command = [sys.executable, "-m", "pytest", "tests/ray", "--ignore=tests/ray/test_real_promises.py"]
    command += ["-m", "real_ray", *sys.argv[1:]]
    return subprocess.run(command, env={**os.environ, "RAYJOBWATCH_RAY_VERSION": OLDEST}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
