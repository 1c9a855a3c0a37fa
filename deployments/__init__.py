"""Where it runs: the command line, the relay, the embedded stack and what `prefect deploy` needs."""
