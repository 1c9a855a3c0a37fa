"""What a Prefect server needs before runs work: work pool, blocks, deployments, automations."""
