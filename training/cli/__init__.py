"""The commands of ``serd-train``."""
