"""`make bench-scale`: the controller among many jobs, on a real API server and scripted dashboards.

- jobs, plans: what Ray would say of each job at any time, from a seed: the truth (pure)
- records, routes: the answers of a dashboard and its agent, in Ray's wire shapes (pure)
- dashboards, scripted: the process that gives these answers, and the way to it
- contenders, ours, kuberay: who is measured
- image: what our image holds, without a container
- kube, seen: making RayClusters and the objects of the contender, and watching these
- usage, audit: CPU, memory, requests to the API server
- arena, scenarios: what is run; verdicts, report: what comes out of it
"""
