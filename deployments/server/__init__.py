"""Setup of a Prefect server: work pool, blocks, deployments, automations."""
