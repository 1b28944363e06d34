"""A real cluster on this machine, without containers: a Kubernetes control plane, a Ray head, RayClusters.

- `controlplane`: etcd, kube-apiserver, kube-controller-manager; `kubectl`: what can be done to any cluster.
- `rayhead`: a real Ray head, and what a test does to it. `raycluster`: RayCluster objects as KubeRay leaves them.
- `binaries`, `gotoolchain`, `rayvenv`, `venvs`, `cache`, `prepare`: made once, kept in `$XDG_CACHE_HOME/rayjobwatch`.
- `processes`, `guard`: whatever is started ends with its owner. `detached`: unless it is let go (`up`, `down`).
- `demo`: the main job, end to end.
"""
