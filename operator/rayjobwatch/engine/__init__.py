"""What runs: work queue, reconciler, sessions with dashboards, followers of logs."""
