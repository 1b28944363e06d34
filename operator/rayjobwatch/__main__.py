"""`python -m rayjobwatch`."""

import sys

from rayjobwatch.cli import main

sys.exit(main())
