"""The jobs of this app."""

from __future__ import annotations

from datanets.services import parse_contribution
from datanets.services.leave import WITHDRAW_JOB, withdraw_rows
from datanets.services.submit_contribution import PARSE_JOB
from openledger_site.core.jobs import handles

handles(PARSE_JOB)(parse_contribution)
handles(WITHDRAW_JOB)(withdraw_rows)
