"""What is measured besides the daemon. Each module is a program that runs in its own process."""
