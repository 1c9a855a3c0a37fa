"""What runs of this project import: the warm process imports this module, so that they find all of it imported."""

# ruff: noqa: F401

import boto3
import prefect.engine
import prefect.flow_engine
import prefect.main
import prefect.task_engine

import flows.ingest
import flows.notify
import flows.sweep
