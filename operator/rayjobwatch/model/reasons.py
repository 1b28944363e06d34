"""Every reason that users read, as closed sets: code compares members, never words."""

from enum import StrEnum


class Reason(StrEnum):
    """Reason of a condition. README's table says what helps against those of `Ready=False`."""

    # Of Ready=False: why a watch cannot work now.
    INVALID_SPEC = "InvalidSpec"
    INVALID_RULE = "InvalidRule"
    RAY_CLUSTER_NOT_FOUND = "RayClusterNotFound"
    RAY_CLUSTER_MANAGED_ELSEWHERE = "RayClusterManagedElsewhere"
    RAY_CLUSTER_PROVISIONING = "RayClusterProvisioning"
    RAY_CLUSTER_NOT_READY = "RayClusterNotReady"
    RAY_CLUSTER_SUSPENDING = "RayClusterSuspending"
    RAY_CLUSTER_SUSPENDED = "RayClusterSuspended"
    RAY_CLUSTER_DELETING = "RayClusterDeleting"
    HEAD_SERVICE_NOT_FOUND = "HeadServiceNotFound"
    HEAD_POD_NOT_FOUND = "HeadPodNotFound"
    FOREIGN_HEAD = "ForeignHead"
    DASHBOARD_PORT_NOT_FOUND = "DashboardPortNotFound"
    DASHBOARD_URL_NOT_ALLOWED = "DashboardURLNotAllowed"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    SERVICE_ACCOUNT_NOT_FOUND = "ServiceAccountNotFound"
    INVALID_TOKEN = "InvalidToken"  # noqa: S105
    INVALID_CA = "InvalidCA"
    KUBERAY_NOT_INSTALLED = "KubeRayNotInstalled"
    FORBIDDEN = "Forbidden"
    DASHBOARD_UNREACHABLE = "DashboardUnreachable"
    DASHBOARD_TIMEOUT = "DashboardTimeout"
    DASHBOARD_ERROR = "DashboardError"
    NOT_A_RAY_DASHBOARD = "NotARayDashboard"
    UNAUTHORIZED = "Unauthorized"

    # Of Ready otherwise.
    STARTING = "Starting"
    WATCHING = "Watching"
    FINISHED = "Finished"

    # Of DashboardReachable otherwise.
    NOT_ASKED_YET = "NotAskedYet"
    ANSWERING = "Answering"
    NO_LONGER_ASKED = "NoLongerAsked"

    # Of Finished and Succeeded.
    JOB_NOT_FOUND = "JobNotFound"
    JOBS_ACTIVE = "JobsActive"
    ALL_JOBS_OVER = "AllJobsOver"
    JOBS_SUCCEEDED = "JobsSucceeded"
    JOB_FAILED = "JobFailed"
    JOB_STOPPED = "JobStopped"
    JOB_LOST = "JobLost"
    OUTCOME_UNKNOWN = "OutcomeUnknown"

    # Of the conditions that log rules ask for.
    LOG_RULE_FIRING = "LogRuleFiring"
    LOG_RULE_RESTING = "LogRuleResting"


class EventReason(StrEnum):
    """Reason of an Event."""

    JOB_RUNNING = "JobRunning"
    JOB_SUCCEEDED = "JobSucceeded"
    JOB_FAILED = "JobFailed"
    JOB_STOPPED = "JobStopped"
    JOB_LOST = "JobLost"
    JOB_OUTCOME_UNKNOWN = "JobOutcomeUnknown"
    STOP_REQUESTED = "StopRequested"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    STOP_FAILED = "StopFailed"
    LOG_RULE_FIRED = "LogRuleFired"
    LOG_RULE_RESET = "LogRuleReset"
    DASHBOARD_UNREACHABLE = "DashboardUnreachable"
    DASHBOARD_REACHABLE = "DashboardReachable"
    HEAD_REPLACED = "HeadReplaced"
    JOB_RECORD_DELETED = "JobRecordDeleted"
    SERVE_APPLICATION_DELETED = "ServeApplicationDeleted"
    SERVE_APPLICATION_DELETE_FAILED = "ServeApplicationDeleteFailed"
    STATUS_REFUSED = "StatusRefused"
    # On a RayCluster, of the watch that its annotation asks for.
    WATCH_CREATED = "WatchCreated"
    WATCH_NOT_CREATED = "WatchNotCreated"
    WATCH_DELETED = "WatchDeleted"
