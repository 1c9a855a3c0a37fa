"""A feed: one kind of file, declared with the words of the Data Package standard, v2 (datapackage.org/standard)."""
