"""BatchWriteItem at the speed of the table: bodies in bulk, kept-alive connections, a rate that the table sets.

`delivery` tells the story; `docs/decisions/0020-one-event-loop-and-its-own-signature.md` says why it is told so.
Nothing in here knows Prefect, and nothing is imported before the first write.
"""
