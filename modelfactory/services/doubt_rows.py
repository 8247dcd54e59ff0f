"""What a run answers wrongly goes back to those who curate its rows."""

from __future__ import annotations

from datanets.models import SecondLook
from datanets.selectors import record_cards
from datanets.services import ask_to_look_again
from modelfactory.models import Run
from openledger_site.accounts.models import User

ROWS_MAX = 20


def doubt_worst_rows(run: Run, builder: User) -> int:
    """Ask the curators to look at the rows whose questions the tuned model got wrong from memory;
    at most `ROWS_MAX`, and only rows that the builder may read. Returns how many are new to them.
    """
    wrong = (
        run.evaluation_results.filter(retrieved=False, tuned_correct=False)
        .exclude(question="")
        .order_by("position")
        .values_list("record_id", flat=True)
    )
    ids = list(dict.fromkeys(wrong))
    cards = record_cards(builder, ids)
    readable = [pk for pk in ids if pk in cards and cards[pk].readable][:ROWS_MAX]
    return ask_to_look_again(
        record_ids=readable,
        source=SecondLook.Source.EVALUATION,
        note=f"The run “{run.name}” learnt this row and still answers its question wrongly.",
        opened_by=builder,
    )
