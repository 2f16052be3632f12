"""What is measured beside the daemon. Each module is a program of its own, run in a new process."""
