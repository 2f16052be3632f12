#!/bin/bash
# Prints the configuration for a machine-wide installation: the one in this tree, with the journal
# where the service keeps it, so that `sudo -u serd serd history` finds it, too.
set -euo pipefail
sed 's|^  # path: /var/lib/serd/journal.db|  path: /var/lib/serd/journal.db|' "$(dirname "$0")/../config.yaml"
