"""The running daemon: nodes with their pipelines, wired together, watched over and restarted."""
