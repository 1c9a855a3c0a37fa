"""What the flows touch: Prefect blocks for the bucket, the two tables and the mail."""
