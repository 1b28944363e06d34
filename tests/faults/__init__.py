"""Campaigns of faults from a seed, against scripted dashboards and a real API server: `make faults SEED=N`."""
