"""A version in the Croissant format 1.0 (http://mlcommons.org/croissant/1.0), as JSON-LD. Pure.

The file that is described is the manifest: one entry a row, with its owner, licence, side of the
split and salted hash, and no text. The text itself is read here with a right to read it, and leaves
when its owner withdraws it, so that no file of it could keep its checksum.
"""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from datanets.citation import cite
from datanets.completeness import CARD_QUESTIONS
from datanets.facets import UNKNOWN, Counts
from datanets.licences import LICENCE_URLS
from datanets.models import DatanetCard, Version
from datanets.provenance import synthetic_rows, time_frame, value_in_words

CONTENT_TYPE = "application/ld+json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# Answers of the card that the responsible-AI vocabulary of Croissant has a property for.
_RAI = {
    "collection": "rai:dataCollection",
    "limits": "rai:dataLimitations",
    "intended_use": "rai:dataUseCases",
    "maintenance": "rai:dataReleaseMaintenancePlan",
}
_FIELDS = {
    "record": "Public id of the row.",
    "contributor": "Public id of whoever gave the row.",
    "licence": "SPDX or RAIL key of the terms under which it was given.",
    "split": "train or held_out.",
    "leaf_hash": "Salted SHA-256 of the row: a leaf of the Merkle tree.",
}


def croissant(
    version: Version, *, card: DatanetCard | None, counts: Counts, site: str
) -> dict[str, Any]:
    """`counts` are of the version's rows that are still there; `site` is scheme and host,
    without a final slash.
    """
    datanet = version.datanet
    page = site + version.get_absolute_url()
    manifest = reverse("datanets:version-manifest", args=[version.public_id])
    licences = counts.by["licence"]
    keys = sorted(licences, key=lambda key: -licences[key]) or [datanet.licence]
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": datanet.name,
        "description": datanet.description,
        "license": [LICENCE_URLS.get(key, key) for key in keys],
        "url": page,
        "creator": {"@type": "sc:Person", "name": datanet.owner.name},
        "publisher": {"@type": "sc:Organization", "name": "OpenLedger", "url": site + "/"},
        "datePublished": version.created_at.isoformat(timespec="seconds"),
        "dateCreated": datanet.created_at.isoformat(timespec="seconds"),
        "version": f"{version.number}.0.0",
        "identifier": f"0x{version.merkle_root}",
        "citeAs": citation_of(version, site).bibtex,
        "isAccessibleForFree": datanet.visibility == "public",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "manifest.json",
                "name": "manifest.json",
                "description": "Every row with owner, licence, split and salted hash; no text.",
                "contentUrl": site + manifest,
                "encodingFormat": "application/json",
                "sha256": version.manifest_digest,
            }
        ],
        "recordSet": [_record_set()],
    }
    return described | _from_contributors(counts) | _from_card(card)


def _from_contributors(counts: Counts) -> dict[str, Any]:
    """What contributors said of their rows: times, places, methods, and rows by each answer."""
    told: dict[str, Any] = {
        "additionalProperty": [
            {
                "@type": "PropertyValue",
                "propertyID": facet,
                "name": f"Rows by {facet}: {value_in_words(facet, value)}",
                "value": rows,
            }
            for facet in ("source", "method", "consent")
            for value, rows in counts.by[facet].most_common()
        ]
        + [{"@type": "PropertyValue", "name": "Synthetic rows", "value": synthetic_rows(counts)}]
    }
    methods = [one for one in counts.by["method"] if one != UNKNOWN]
    if methods:
        told["rai:dataCollectionType"] = [value_in_words("method", one) for one in methods]
    if frame := time_frame(counts):
        told["rai:dataCollectionTimeframe"] = frame
    if places := [one for one in counts.by["origin"] if one != UNKNOWN]:
        told["spatialCoverage"] = places
    return told


def citation_of(version: Version, site: str) -> Any:
    datanet = version.datanet
    return cite(
        name=datanet.name,
        slug=datanet.slug,
        owner=datanet.owner.name,
        number=version.number,
        year=version.created_at.year,
        merkle_root=version.merkle_root,
        url=site + version.get_absolute_url(),
    )


def _record_set() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "rows",
        "name": "rows",
        "description": "One record a row of the version, in the order of its Merkle tree.",
        "key": {"@id": "rows/record"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"rows/{name}",
                "name": name,
                "description": description,
                "dataType": "sc:Text",
                "source": {
                    "fileObject": {"@id": "manifest.json"},
                    "extract": {"jsonPath": f"$.records[*].{name}"},
                },
            }
            for name, description in _FIELDS.items()
        ],
    }


def _from_card(card: DatanetCard | None) -> dict[str, Any]:
    """What the owner said, where Croissant has a place for it."""
    if card is None:
        return {}
    answers = {name: getattr(card, name).strip() for name, _, _ in CARD_QUESTIONS}
    told: dict[str, Any] = {_RAI[name]: answers[name] for name in _RAI if answers[name]}
    languages = [one.strip() for one in answers["languages"].split(",") if one.strip()]
    return told | ({"inLanguage": languages} if languages else {})
