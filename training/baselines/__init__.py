"""Published small systems, rebuilt to stand beside serd's own network (none yet)."""
