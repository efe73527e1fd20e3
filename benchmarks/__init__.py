"""One script per claim; each prints a table and takes `--json FILE`."""
