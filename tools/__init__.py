"""Programs for working on serd; not part of the package."""
