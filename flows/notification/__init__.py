"""The email about the files of a run: the wait before it, what it says, and how it is rendered."""
