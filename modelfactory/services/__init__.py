"""The writes of this app, and what others ask of it. No module here imports torch."""

from __future__ import annotations

from modelfactory.services.attribute_answer import (
    AttributedAnswer,
    IndexNotReady,
    NoIndex,
    answer_ids,
    attribute_answer,
    check_still_attributed,
    load_attributor,
)
from modelfactory.services.base_models import (
    UnreadableBase,
    base_source,
    read_base_folder,
    resolve_source,
    sync_base_models,
)
from modelfactory.services.build_index import (
    build_attribution_index,
    calibration_folder,
    index_folder,
)
from modelfactory.services.calibrate_model import (
    FIT_JOB,
    SUBSET_JOB,
    NothingToMeasure,
    StillStopping,
    seconds_left,
    start_calibration,
    stop_calibration,
)
from modelfactory.services.doubt_rows import doubt_worst_rows
from modelfactory.services.engine_process import EngineCommand, engine_command
from modelfactory.services.fit_calibration import fit_calibration
from modelfactory.services.follow_withdrawals import follow_withdrawals
from modelfactory.services.guard_output import (
    GUARD_JOB,
    GuardNotReady,
    count_withheld,
    make_output_guard_again,
    masked,
    needs_guard,
    open_guard,
)
from modelfactory.services.measure_contributor import estimate_contributors, measure_contributor
from modelfactory.services.passage_effects import measure_passages
from modelfactory.services.passages import Passage, passage_text, passages_about, retrieve_passages
from modelfactory.services.plan import (
    Plan,
    estimated_seconds,
    fit_for,
    make_plan,
    recipe_of,
    time_in_words,
)
from modelfactory.services.pricing import fee_wei, price_wei, short_answer_wei
from modelfactory.services.publish_model import (
    NotReadyToPublish,
    RightToServeEnded,
    SlugTaken,
    check_serving,
    publish_model,
    rows_by_contributor,
    suggested_card,
)
from modelfactory.services.queue_following import FOLLOW_JOB, follow_withdrawal
from modelfactory.services.start_run import (
    TRAIN_JOB,
    NothingToResume,
    TooManyRuns,
    resume_run,
    retry_safer,
    start_run,
)
from modelfactory.services.train_run import INDEX_JOB, train_run
from modelfactory.services.train_subset import train_subset
from modelfactory.services.value_contributors import (
    ESTIMATE_JOB,
    VALUE_JOB,
    NothingToValue,
    start_valuation,
    stop_valuation,
)
from modelfactory.services.verbatim_spans import verbatim_spans

__all__ = [
    "ESTIMATE_JOB",
    "FIT_JOB",
    "FOLLOW_JOB",
    "GUARD_JOB",
    "INDEX_JOB",
    "SUBSET_JOB",
    "TRAIN_JOB",
    "VALUE_JOB",
    "AttributedAnswer",
    "EngineCommand",
    "GuardNotReady",
    "IndexNotReady",
    "NoIndex",
    "NotReadyToPublish",
    "NothingToMeasure",
    "NothingToResume",
    "NothingToValue",
    "Passage",
    "Plan",
    "RightToServeEnded",
    "SlugTaken",
    "StillStopping",
    "TooManyRuns",
    "UnreadableBase",
    "answer_ids",
    "attribute_answer",
    "base_source",
    "build_attribution_index",
    "calibration_folder",
    "check_serving",
    "check_still_attributed",
    "count_withheld",
    "doubt_worst_rows",
    "engine_command",
    "estimate_contributors",
    "estimated_seconds",
    "fee_wei",
    "fit_calibration",
    "fit_for",
    "follow_withdrawal",
    "follow_withdrawals",
    "index_folder",
    "load_attributor",
    "make_output_guard_again",
    "make_plan",
    "masked",
    "measure_contributor",
    "measure_passages",
    "needs_guard",
    "open_guard",
    "passage_text",
    "passages_about",
    "price_wei",
    "publish_model",
    "read_base_folder",
    "recipe_of",
    "resolve_source",
    "resume_run",
    "retrieve_passages",
    "retry_safer",
    "rows_by_contributor",
    "seconds_left",
    "short_answer_wei",
    "start_calibration",
    "start_run",
    "start_valuation",
    "stop_calibration",
    "stop_valuation",
    "suggested_card",
    "sync_base_models",
    "time_in_words",
    "train_run",
    "train_subset",
    "verbatim_spans",
]
