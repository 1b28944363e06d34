"""A job that nobody wants any more: it prints and does not end by itself."""

import time
from itertools import count

for round_ in count(1):
    print(f"waiting for work, round {round_}")
    time.sleep(1)
