"""How it is sent: connection settings, and the sync and async runners of plans with their sockets."""
