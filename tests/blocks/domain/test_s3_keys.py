"""Where keys lead, and what addresses mean."""

import pytest

from blocks.domain.s3_keys import (
    decoded_key,
    file_name,
    is_file,
    key_bytes,
    moved_key,
    parse_s3_uri,
    s3_uri,
    versioned_key,
)

HOSTILE_KEYS = [
    "incoming/with space.csv",
    "incoming/a+b%20c%2B.csv",
    "incoming/Zürich/测试 😀.csv",
    'incoming/it\'s "quoted".csv',
    "incoming//double//slash.csv",
    "incoming/?query#fragment&x={{ y }}.csv",
    "incoming/../up.csv",
]


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_an_address_made_of_bucket_and_key_is_read_back_as_they_were(key: str) -> None:
    assert ("landing", key) == parse_s3_uri(s3_uri("landing", key))


@pytest.mark.parametrize(
    "text", ["", "incoming/a.csv", "s3://", "s3://landing", "s3://landing/", "s3:///a.csv", "S3://b/a"]
)
def test_a_text_that_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"s3://bucket/incoming/sensors\.csv"):
        parse_s3_uri(text)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("sensors.csv", "incoming/2026/sensors.csv"),
        ("sensors.csv", "sensors.csv"),
        ("2026", "incoming/2026/"),
        ("/", "/"),
    ],
)
def test_the_name_of_a_file_is_the_last_part_of_its_key_and_never_empty(name: str, key: str) -> None:
    assert name == file_name(key)


@pytest.mark.parametrize("key", HOSTILE_KEYS)
def test_a_moved_key_keeps_everything_after_the_prefix(key: str) -> None:
    assert "processed/" + key[len("incoming/") :] == moved_key(key, from_prefix="incoming/", to_prefix="processed/")


def test_a_prefix_is_taken_off_once_and_only_at_the_start() -> None:
    assert "processed/incoming/incoming/a.csv" == moved_key(
        "incoming/incoming/incoming/a.csv", from_prefix="incoming/", to_prefix="processed/"
    )


def test_a_key_from_elsewhere_is_kept_whole_under_the_new_prefix() -> None:
    assert "processed/other/a.csv" == moved_key("other/a.csv", from_prefix="incoming/", to_prefix="processed/")


@pytest.mark.parametrize(
    ("expected", "key"),
    [
        ("processed/a.V1.csv", "processed/a.csv"),
        ("processed/a.V1.csv.gz", "processed/a.csv.gz"),
        ("processed/v1.0/a.V1", "processed/v1.0/a"),
        ("a.V1.csv", "a.csv"),
        ("processed/.V1.hidden", "processed/.hidden"),
    ],
)
def test_a_version_goes_before_the_ending_of_the_name_and_leaves_folders_alone(expected: str, key: str) -> None:
    assert expected == versioned_key(key, "V1")


@pytest.mark.parametrize("name", ["k" * 1010 + ".csv", "ü" * 503 + ".csv.gz", "k." + "c" * 1000, "😀" * 253])
def test_a_name_that_a_version_makes_too_long_is_cut_before_the_version(name: str) -> None:
    key = versioned_key(f"processed/{name}", "V1", ".rejects.csv")
    stem, _, tail = key.partition(".V1")
    assert key_bytes(f"processed/{name}") <= 1024
    assert 1020 < key_bytes(key) <= 1024
    assert f"processed/{name}".startswith(stem)
    assert tail in (".csv.rejects.csv", ".csv.gz.rejects.csv", ".rejects.csv")


def test_a_placeholder_of_a_folder_and_a_key_with_a_nul_are_no_files() -> None:
    keys = ("incoming/", "/", "incoming/a\0.csv", "incoming/a.csv", "incoming")
    assert [False, False, False, True, True] == [is_file(key) for key in keys]


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("incoming/with space.csv", "incoming/with+space.csv"),
        ("incoming/a+b%c.csv", "incoming/a%2Bb%25c.csv"),
        ("incoming/Zürich 😀.csv", "incoming%2FZ%C3%BCrich+%F0%9F%98%80.csv"),
        ("incoming/%20.csv", "incoming/%2520.csv"),
    ],
)
def test_a_form_encoded_key_is_decoded_once(key: str, encoded: str) -> None:
    assert key == decoded_key(encoded)
