"""The relay: it reads the queue, batches the files, waits for a free run slot and sends one Prefect event per batch."""
