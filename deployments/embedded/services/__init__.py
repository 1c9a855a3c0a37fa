"""The services of an embedded stack: the AWS emulator, PostgreSQL, the Prefect server and its worker."""
