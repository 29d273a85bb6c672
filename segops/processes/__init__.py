"""``segops`` processes that another one runs: children, their restarts, their HTTP pages, and interrupts."""
