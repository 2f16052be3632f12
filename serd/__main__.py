"""``python -m serd`` is ``serd``."""

from __future__ import annotations

import sys

from serd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
