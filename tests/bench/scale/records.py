"""Ray's own words for a scripted job: the object of `GET /api/jobs/{id}` as Ray 2.60 sends it."""

from typing import Any

from tests.bench.scale.jobs import FAILED, PENDING, RUNNING, STOPPED, SUCCEEDED, Job

RAY_VERSION = "2.60.0"
HOST = "127.0.0.1"
NAMESPACE = "bench"
LOG_LINES_IN_MESSAGE = 10
ENTRYPOINT = "python train.py --epochs 40 --data s3://datasets/shards --lr 3e-4"
MESSAGES = {
    PENDING: "Job has not started yet. It may be waiting for resources (CPUs, GPUs, memory, custom resources) to "
    "become available. It may be waiting for the runtime environment to be set up.",
    RUNNING: "Job is currently running.",
    SUCCEEDED: "Job finished successfully.",
    STOPPED: "Job was intentionally stopped.",
}


def record(job: Job, status: str, agent_url: str) -> dict[str, Any]:
    """Return the job's object while its state is `status`."""
    started, over = status != PENDING, status not in (PENDING, RUNNING)
    ray_job_id = f"{1 + int(job.id[-4:], 16):08x}"
    return {
        "type": "SUBMISSION",
        "job_id": ray_job_id if started else None,
        "submission_id": job.id,
        "driver_info": {"id": ray_job_id, "node_ip_address": HOST, "pid": "12354"} if started else None,
        "status": status,
        "entrypoint": ENTRYPOINT,
        "message": _failure(job) if status == FAILED else MESSAGES[status],
        "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR" if status == FAILED else None,
        "start_time": int(job.submitted * 1000),
        "end_time": int(job.ended * 1000) if over else None,
        "metadata": {"job_name": f"train-{job.id[-6:]}", "team": "nlp", "owner": "airflow"},
        "runtime_env": {
            "working_dir": f"gcs://_ray_pkg_{job.id[-11:]}.zip",
            "pip": {"packages": ["torch==2.9.0", "datasets"], "pip_check": False},
            "env_vars": {"WANDB_API_KEY": "not-a-secret", "TOKENIZERS_PARALLELISM": "false"},
            "_ray_commit": "0" * 40,
        },
        "driver_agent_http_address": agent_url if started else None,
        "driver_node_id": node_id(job.dashboard) if started else None,
        "driver_exit_code": {SUCCEEDED: 0, FAILED: 1}.get(status),
    }


def cluster_name(dashboard: int) -> str:
    """Return the name of the RayCluster of a dashboard."""
    return f"ray-{dashboard:03d}"


def dashboard_of(host: str) -> int:
    """Return the dashboard behind a RayCluster's head Service, by the Service's name in DNS."""
    return int(host.split(".", maxsplit=1)[0].removeprefix("ray-").removesuffix("-head-svc"))


def version(dashboard: int) -> dict[str, str]:
    """Return the answer of `GET /api/version`."""
    session = f"session_2026-11-20_12-00-00_000000_{dashboard + 1}"
    return {"version": "4", "ray_version": RAY_VERSION, "ray_commit": "0" * 40, "session_name": session}


def node_id(dashboard: int) -> str:
    """Return the id of the only node of a dashboard's cluster."""
    return f"{1 + dashboard:056x}"


def state_rows(dashboard: int, resource: str) -> dict[str, Any]:
    """Return the answer of the state API: one node that is its head, and no failed tasks."""
    node = {"node_id": node_id(dashboard), "node_ip": HOST, "is_head_node": True, "state": "ALIVE", "node_name": HOST}
    rows = [node] if resource == "nodes" else []
    counts = dict.fromkeys(("total", "num_after_truncation", "num_filtered"), len(rows))
    return {"result": True, "msg": "", "data": {"result": {**counts, "result": rows, "warnings": []}}}


def _failure(job: Job) -> str:
    lines = job.log(job.ended).data.decode().splitlines(keepends=True)[-LOG_LINES_IN_MESSAGE:]
    return (
        "Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):\n"
        + "".join(lines)
    )
