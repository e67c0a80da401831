"""Problem sets that grade themselves: `check` for students, ``python -m companion.grade`` for all.

A student's code runs in a process of its own, under limits, and is asked for values; the grader's
process knows the answers, and judges. Nothing that is printed counts.
"""

from companion.grade.public import check

__all__ = ["check"]
