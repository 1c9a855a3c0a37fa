"""BatchWriteItem at the speed of the table: request bodies in bulk, kept-alive connections, an adaptive rate limit.

`writing` is the entry, `batch_writer` the core; decision 20 says why it is built so. The package does not import
Prefect, and is imported at the first write.
"""
