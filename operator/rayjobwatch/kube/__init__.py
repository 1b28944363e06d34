"""The API server: reading RayJobWatches and RayClusters, writing status and Events. Knows nothing of Ray's API."""
