"""Regions and their countries, held against the list that comes with AWS's own library."""

from __future__ import annotations

import json
from pathlib import Path

import botocore
import pytest

from backends.plan.regions import country_of

PLACES = {
    "Cape Town": "ZA", "Hong Kong": "HK", "Taipei": "TW", "Tokyo": "JP", "Seoul": "KR", "Osaka": "JP", "Mumbai": "IN", "Hyderabad": "IN",
    "Singapore": "SG", "Sydney": "AU", "Jakarta": "ID", "Melbourne": "AU", "Malaysia": "MY", "New Zealand": "NZ", "Thailand": "TH",
    "Canada": "CA", "Frankfurt": "DE", "Germany": "DE", "Zurich": "CH", "Stockholm": "SE", "Milan": "IT", "Spain": "ES", "Ireland": "IE",
    "London": "GB", "Paris": "FR", "Tel Aviv": "IL", "UAE": "AE", "Bahrain": "BH", "Mexico": "MX", "Sao Paulo": "BR", "Virginia": "US",
    "Ohio": "US", "California": "US", "Oregon": "US", "China": "CN", "GovCloud": "US",
}  # fmt: skip


def regions_of_aws() -> dict[str, str]:
    """Names and descriptions as botocore has them; global and secret ones are no places."""
    told = json.loads((Path(botocore.__file__).parent / "data" / "partitions.json").read_text())
    found = {name: r["description"] for p in told["partitions"] for name, r in p["regions"].items()}
    return {name: text for name, text in found.items() if "global" not in name and "-iso" not in name}


def test_every_region_of_aws_is_in_its_country() -> None:
    regions = regions_of_aws()
    assert len(regions) > 30
    for name, text in regions.items():
        place = next((country for words, country in PLACES.items() if words in text), None)
        assert place is not None, f"{name}: where is {text}?"
        assert country_of(name) == place, name


@pytest.mark.parametrize(
    ("region", "country"),
    [
        ("europe-west2", "GB"),
        ("europe-north2", "SE"),
        ("me-central2", "SA"),
        ("austriaeast", "AT"),
        ("UKSouth", "GB"),
        ("westeurope", "NL"),
    ],
)
def test_regions_of_google_and_azure_in_any_case(region: str, country: str) -> None:
    assert country_of(region) == country


def test_nothing_is_read_out_of_a_name() -> None:
    assert country_of("eu-west-9") is None
    assert country_of("") is None
