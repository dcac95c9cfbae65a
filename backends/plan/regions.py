"""In which country a provider's region is, and which countries an area holds.

Regions by the names that AWS, Google Cloud and Azure give them; countries by ISO 3166-1 alpha-2. Held in 2026-11 against the providers' own lists: botocore's
partitions (its secret ones left out), cloud.google.com "Regions and zones", learn.microsoft.com "Azure regions list". A region that is not here is not known: nothing
is read out of its name, for `eu-west-2` is in London and outside of the EU.
"""

from __future__ import annotations

import re

_EU = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
EU = frozenset(_EU.split())
AREAS = {"EU": EU, "EEA": EU | {"IS", "LI", "NO"}}
_COUNTRY = re.compile(r"^[A-Z]{2}$")

_AWS = """
us-east-1 US us-east-2 US us-west-1 US us-west-2 US us-gov-east-1 US us-gov-west-1 US ca-central-1 CA ca-west-1 CA mx-central-1 MX sa-east-1 BR
eu-central-1 DE eu-central-2 CH eu-west-1 IE eu-west-2 GB eu-west-3 FR eu-north-1 SE eu-south-1 IT eu-south-2 ES il-central-1 IL me-south-1 BH
me-central-1 AE af-south-1 ZA ap-east-1 HK ap-south-1 IN ap-south-2 IN ap-northeast-1 JP ap-northeast-2 KR ap-northeast-3 JP ap-southeast-1 SG
ap-southeast-2 AU ap-southeast-3 ID ap-southeast-4 AU ap-southeast-5 MY ap-southeast-6 NZ ap-southeast-7 TH ap-east-2 TW cn-north-1 CN cn-northwest-1 CN
eusc-de-east-1 DE
"""
_GOOGLE = """
us-central1 US us-east1 US us-east4 US us-east5 US us-south1 US us-west1 US us-west2 US us-west3 US us-west4 US northamerica-northeast1 CA
northamerica-northeast2 CA northamerica-south1 MX southamerica-east1 BR southamerica-west1 CL europe-central2 PL europe-north1 FI europe-north2 SE
europe-southwest1 ES europe-west1 BE europe-west2 GB europe-west3 DE europe-west4 NL europe-west6 CH europe-west8 IT europe-west9 FR europe-west10 DE
europe-west12 IT me-central1 QA me-central2 SA me-west1 IL africa-south1 ZA asia-east1 TW asia-east2 HK asia-northeast1 JP asia-northeast2 JP
asia-northeast3 KR asia-south1 IN asia-south2 IN asia-southeast1 SG asia-southeast2 ID australia-southeast1 AU australia-southeast2 AU
"""
_AZURE = """
eastus US eastus2 US centralus US northcentralus US southcentralus US westcentralus US westus US westus2 US westus3 US canadacentral CA canadaeast CA
mexicocentral MX brazilsouth BR northeurope IE westeurope NL uksouth GB ukwest GB francecentral FR francesouth FR germanywestcentral DE germanynorth DE
swedencentral SE norwayeast NO norwaywest NO switzerlandnorth CH switzerlandwest CH polandcentral PL italynorth IT spaincentral ES uaenorth AE
uaecentral AE qatarcentral QA israelcentral IL southafricanorth ZA southafricawest ZA eastasia HK southeastasia SG japaneast JP japanwest JP
koreacentral KR koreasouth KR centralindia IN southindia IN westindia IN australiaeast AU australiasoutheast AU australiacentral AU newzealandnorth NZ
australiacentral2 AU austriaeast AT belgiumcentral BE brazilsoutheast BR chilecentral CL indonesiacentral ID jioindiacentral IN jioindiawest IN
malaysiawest MY
"""


def _pairs(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


_COUNTRIES = _pairs(_AWS) | _pairs(_GOOGLE) | _pairs(_AZURE)


def country_of(region: str | None) -> str | None:
    """The country of a region; None where it is not known."""
    return _COUNTRIES.get(region.strip().casefold()) if region else None


def countries_of(place: str) -> frozenset[str] | None:
    """Of an area (`EU`, `EEA`) or a country's code, in any case; None where it is neither."""
    name = place.strip().upper()
    return AREAS.get(name) or (frozenset({name}) if _COUNTRY.match(name) else None)
