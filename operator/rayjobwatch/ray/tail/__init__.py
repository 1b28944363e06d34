"""One job's log from a cursor to its end, over whatever source there is. No I/O: see `plan`."""
