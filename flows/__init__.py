"""What happens: the flows, the tasks that do their I/O, and the rules they follow."""
