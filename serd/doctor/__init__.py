"""The checks of ``serd check``: everything serd needs, what is wrong with it, and what helps."""
