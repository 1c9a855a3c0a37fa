"""The commands of `sensor-ingest`, one module or folder each; `deployments/cli.py` lists them."""
