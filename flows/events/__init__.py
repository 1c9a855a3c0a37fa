"""The Prefect events that this project sends."""
