"""The measurements of ``serd bench``: speed and cost on this machine, and false alarms."""
