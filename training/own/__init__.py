"""Models of somebody's own recordings."""
