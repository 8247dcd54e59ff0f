"""Runs in a process of its own, as on the site: the recognisers hide torch where they load."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TEXTS = {
    "Write to jane.doe@acme.com today.": ["EMAIL_ADDRESS"],
    "Call +49 30 901820 or +44 20 7946 0958.": ["PHONE_NUMBER", "PHONE_NUMBER"],
    "Call (212) 555-0123 in New York.": ["PHONE_NUMBER"],
    "Card 4111 1111 1111 1111, please.": ["CREDIT_CARD"],
    "Card 4111 1111 1111 1112, mistyped.": [],
    "Pay to DE89 3704 0044 0532 0130 00.": ["IBAN_CODE"],
    "The server is 8.8.8.8 or 2001:4860:4860::8888.": ["IP_ADDRESS", "IP_ADDRESS"],
    "Number 536-90-4399 is a person's.": ["US_SSN"],
    "Use 127.0.0.1, 192.168.1.10 or ::1 at home.": [],
    "Write to ann@example.org or bob@mail.example.com.": [],
    "In 2024 version 3.11.7 took 12,345,678 bytes at 10:30.": [],
    "HTTP 404 means not found; 1e-5 is small; x = a[1:2].": [],
    "My name is Jane Doe and I live in Main Street.": [],
}
SCRIPT = """
import json, sys
from datanets.checks.personal_data import find_personal_data, masked, redacted
out = []
for text in json.load(sys.stdin):
    found = find_personal_data(text)
    spots = [(one.start, one.end, one.kind) for one in found]
    out.append({
        "kinds": [one.kind for one in found],
        "masked": [masked(one.kind, text[one.start:one.end]) for one in found],
        "redacted": redacted(text, spots),
    })
loaded = [name for name in ("torch", "spacy") if sys.modules.get(name) is not None]
print(json.dumps({"loaded": loaded, "texts": out}))
"""


@pytest.fixture(scope="module")
def answers():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(list(TEXTS)),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(("at", "text"), list(enumerate(TEXTS)))
def test_what_has_the_form_of_personal_data_is_found_and_the_rest_is_not(answers, at, text):
    assert answers["texts"][at]["kinds"] == TEXTS[text]


def test_a_mask_tells_little_and_a_redaction_nothing(answers):
    first = answers["texts"][0]
    assert first["masked"] == ["j•••@a•••"]
    assert first["redacted"] == "Write to [EMAIL] today."
    assert answers["texts"][1]["redacted"] == "Call [PHONE] or [PHONE]."


def test_no_language_model_is_loaded_for_it(answers):
    assert not answers["loaded"]
