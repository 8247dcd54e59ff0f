"""The benchmark of the ledger counts what clients committed, and says so when one cannot run."""

from __future__ import annotations

import os
import sys

import pytest

from bench.ledger import _median
from bench.money.load import Load, run_clients

CLIENT = """
import argparse
from bench.money.load import serve
parser = argparse.ArgumentParser()
parser.add_argument("--client"), parser.add_argument("--seconds", type=float)
import time
print(serve(lambda number: time.sleep(0.01) or 3, parser.parse_args().seconds), flush=True)
"""


def test_what_two_clients_did_is_added_up() -> None:
    load = run_clients([sys.executable, "-c", CLIENT], os.environ, clients=2, seconds=0.3)
    assert 60 < load.tx_s < 600
    assert load.p50_ms >= 10


def test_a_client_that_dies_is_an_error_with_its_last_words() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such table')"]
    with pytest.raises(RuntimeError, match="no such table"):
        run_clients(command, os.environ, clients=1, seconds=0.1)


def test_the_run_in_the_middle_is_shown() -> None:
    loads = [Load(tx_s, 1.0, 2.0, 1) for tx_s in (30.0, 10.0, 20.0)]
    assert (_median(loads)["tx_s"], _median(loads)["highest"]) == (20.0, 30.0)
