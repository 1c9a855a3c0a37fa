"""What a sweep takes up again: decided in pure functions from what ledger, bucket and Prefect server know."""
