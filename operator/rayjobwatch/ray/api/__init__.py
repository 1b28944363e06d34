"""What Ray is asked and how its answers read: jobs, logs, packages, cluster, Serve. No sockets."""
