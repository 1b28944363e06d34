"""A job that prints a few lines and raises."""

import time

for step in range(1, 6):
    print(f"step {step}/40 loss={1 / step:.4f}")
    time.sleep(0.5)
raise ValueError("loss is not a number at step 6")
