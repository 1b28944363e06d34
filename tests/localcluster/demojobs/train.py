"""A job that prints for about twenty seconds and succeeds."""

import time

STEPS = 40

for step in range(1, STEPS + 1):
    print(f"step {step}/{STEPS} loss={1 / step:.4f}")
    time.sleep(0.5)
print("training done")
