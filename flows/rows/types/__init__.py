"""The types that a feed declares: each checks the texts of one field for all rows of a block together."""
