"""Three kinds of file, dropped at once: each in its table, with the fields of its feed."""

import json
import shutil
from pathlib import Path
from typing import Any

from tests.support.pages import PROJECT
from tests.support.system import System
from tests.support.waiting import eventually

EXAMPLES = PROJECT / "examples"


def items(system: System, table: str) -> list[dict[str, Any]]:
    pages = system.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [item for page in pages for item in page["Items"]]


def drop(system: System, path: Path, key: str) -> None:
    system.put(path.read_bytes(), key)


def entry_of(system: System, key: str) -> dict[str, Any] | None:
    """The ledger's entry of a file that is settled."""
    entries = json.loads(system.run("-m", "deployments.cli", "history", "--file", system.uri(key), "--json"))
    return next((each for each in entries if each["key"] == key and each["finished_at"]), None)


def test_each_file_is_loaded_into_the_table_of_its_feed(system: System) -> None:
    keys = ["incoming/feed-1.csv", "incoming/weather-stations/feed-2.csv", "incoming/loggers/l-0042/feed-3.csv"]
    samples = ["readings.csv", "weather-2024-11-01.csv", "loggers/l-0042/2024-11.csv"]
    for sample, key in zip(samples, keys, strict=True):
        drop(system, EXAMPLES / sample, key)

    entries = [eventually(lambda key=key: entry_of(system, key), 120, f"{key} to be loaded") for key in keys]  # type: ignore[misc] # the lambda's default
    assert [("archived", 40, 0), ("archived", 47, 1), ("archived", 48, 0)] == [
        (each["status"], each["accepted"], each["rejected"]) for each in entries
    ]
    weather, loggers = items(system, "weather-stations"), items(system, "loggers")
    assert (47, 48) == (len(weather), len(loggers))
    assert {"station", "time", "temperature", "humidity", "pressure", "wind", "quality"} == set(weather[0])
    assert {"l-0042"} == {item["device"]["S"] for item in loggers}
    assert 2 == sum("soil_moisture" not in item for item in loggers), "a missing value is no attribute"
    assert all("expires_at" in item for item in loggers)

    fields = ["values of sensor_id, timestamp from", "values of station, time from", "values of device, time from"]
    for key, seen in zip(keys, fields, strict=True):
        name = Path(key).name
        [mail] = eventually(lambda name=name: system.mails_about(name), 60, f"the email about {name}")  # type: ignore[misc] # the lambda's default
        about_the_file = mail.text.partition(f"{name}: ")[2].partition("\n\n")[0]
        assert seen in about_the_file, mail.text


def test_a_feed_that_is_edited_on_the_server_takes_effect_with_the_next_run(system: System) -> None:
    [document] = system.api("block_documents/filter", {"block_documents": {"name": {"any_": ["loggers"]}}})
    descriptor = json.loads(json.dumps(document["data"]["descriptor"]))
    descriptor["rejectLimit"] = 1
    change = {"data": {"descriptor": descriptor}, "merge_existing_data": True}
    system.patch(f"block_documents/{document['id']}", change)
    key = "incoming/loggers/l-0043/edited.csv"
    system.put("time,soil_moisture,battery_mv,pump_on\n1730419200250,0.2,1,true\nnonsense\nnonsense\n", key)

    entry = eventually(lambda: entry_of(system, key), 120, f"{key} to be loaded")
    assert ("archived", 1, 2) == (entry["status"], entry["accepted"], entry["rejected"])


def test_files_that_are_refused_since_their_sender_changed_are_loaded_when_the_feed_has_followed(
    system: System, tmp_path: Path
) -> None:
    """As docs/how-to/everything-is-refused.md says: the decimal commas and semicolons of the stations are gone."""
    key = "incoming/weather-stations/changed.csv"
    sample = (EXAMPLES / "weather-2024-11-01.csv").read_text(encoding="utf-8").replace("maybe", "suspect")
    system.put(sample.replace(",", ".").replace(";", ",").replace("2024-11-01", "2026-11-03"), key)
    refused = eventually(lambda: entry_of(system, key), 120, f"{key} to be refused")
    assert "separated by ',' it names 7" in refused["problem"]

    feeds = shutil.copytree(PROJECT / "deployments" / "feeds", tmp_path / "feeds")
    feed = feeds / "weather-stations.json"
    described = feed.read_text(encoding="utf-8").replace('"dialect": {"delimiter": ";"},', "")
    feed.write_text(described.replace(' "decimalChar": ",",', ""), encoding="utf-8")
    command = ("-m", "deployments.cli")
    judged = json.loads(system.run(*command, "check", refused["archived_to"], "--feed", str(feed), "--json"))
    assert ("accepted", 48) == (judged["verdict"], judged["accepted"])
    system.run(*command, "deploy", SENSOR_INGEST_FEEDS=str(feeds))
    retried = json.loads(system.run(*command, "retry", refused["archived_to"], "--json"))
    assert [system.uri(key)] == [each["to"] for each in retried["moved"]]

    def loaded() -> bool:
        entry = entry_of(system, key)
        return entry is not None and entry["status"] == "archived"

    eventually(loaded, 120, f"{key} to be loaded")
