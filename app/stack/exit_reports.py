"""What DuckDB's bindings report at the end of each run under Prefect, which is nobody's concern.

Prefect keeps a flow until its process ends, and so all that the flow's module has imported. The
bindings take that for leaks, and list them in dozens of lines between those of the run.
"""

import re

_REPORT = re.compile(
    r"nanobind: (?:leaked \d+ |this is likely caused by a reference counting issue)"
    r"| - leaked (?:instance|type|function) "
    r"| - \.\.\. skipped remainder$"
)
# The last of its lines has no end: what comes next is another process's line.
_REPORTS_END = re.compile(r"See https://nanobind\.readthedocs\.io/\S*?refleaks\.html")


def without_exit_report(line: str) -> str:
    """A line of a process without what belongs to such a report; empty if nothing else is in it."""
    return "" if _REPORT.match(line) else _REPORTS_END.sub("", line)
