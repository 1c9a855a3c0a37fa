"""A package, so that its stack ends with its last test: an idle one takes 8 % of a core."""
