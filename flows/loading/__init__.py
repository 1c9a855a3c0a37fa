"""What a run does with one file: claim it, validate its rows, write them, and move it."""
