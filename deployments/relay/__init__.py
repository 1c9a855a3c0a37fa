"""What the relay consists of: the queue, a batch of its messages, free slots for runs, and figures about it all."""
