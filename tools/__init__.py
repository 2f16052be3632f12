"""Development tools for serd; not part of the package."""
