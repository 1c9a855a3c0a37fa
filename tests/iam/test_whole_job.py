"""The whole job with the roles of the template: what relay and runs do is allowed, and all that is allowed is used."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from botocore.exceptions import EndpointConnectionError
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from blocks.domain.models import FileReport, SensorFile
from blocks.landing_zone import LandingZone
from blocks.readings_table import ReadingsTable
from blocks.saved_blocks import load_blocks, save_blocks
from blocks.stack_outputs import StackOutputs
from deployments.relay.relay import Relay
from deployments.relay.sqs_queue import SqsQueue
from deployments.relay.stop_signal import StopSignal
from deployments.relay.timings import Timings
from flows import sweep as sweeping
from flows.notification.overdue import take_up_overdue_emails
from flows.sweep import sweep
from tests.flows.ingest_runs import ingest_files
from tests.flows.recovery.slots import SetSlots
from tests.iam.installation import Installation, actions_of
from tests.iam.test_each_action import KEPT, landed, release
from tests.support.table_time import table_time_later
from tests.support.world import harness
