"""What each page shows, gathered for its template. Reads only."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import markdown
import nh3
from django.http import QueryDict
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify

from datanets.selectors import record_cards, versions_for_training
from modelfactory import selectors, services
from modelfactory.fidelity import fidelity_context
from modelfactory.forms import STEPS, RunForm
from modelfactory.models import EvaluationResult, Model, Run
from modelfactory.privacy import privacy_of
from modelfactory.protection import percent_guessed, protection_of
from modelfactory.services import Plan
from modelfactory.training.recipe import PRIVATE_EPSILONS

HEADINGS = {
    "goal": ("What should it learn?", "Give the run a name. Everything else has a sensible start."),
    "data": ("Which data?", "A version is a fixed snapshot: the run can always be traced to it."),
    "base": ("Which base model?", "The base knows language; your data gives it knowledge."),
    "effort": ("How hard should it try?", "More effort reads each row more often."),
    "plan": ("The plan", "Read it once. Nothing is charged for training here."),
}
EFFORT_HELP = {
    "quick": "To see whether the data teaches anything.",
    "balanced": "The usual choice.",
    "thorough": "When the answers have to be exact.",
}
PROTECTION_LABELS = {16: "A little", 8: "More", 4: "Most"}
ADVANCED = ("rank", "learning_rate", "epochs", "seed")
FIT_WORDS = {"fits": "Fits", "tight": "Tight", "too_large": "Too large for this machine"}
FIT_TONES = {"fits": "good", "tight": "warn", "too_large": "bad"}


@dataclass(frozen=True)
class Wizard:
    """One step of the wizard; the lists of the other steps are empty."""

    step: str
    number: int
    next_step: str
    back_query: str
    carried: list[tuple[str, str]]
    errors: list[str]
    versions: list[dict[str, Any]]
    bases: list[dict[str, Any]]
    efforts: list[dict[str, Any]]
    protections: list[dict[str, Any]]
    advanced_open: bool
    plan: Plan | None

    @property
    def title(self) -> str:
        return HEADINGS[self.step][0]

    @property
    def lede(self) -> str:
        return HEADINGS[self.step][1]

    @property
    def template(self) -> str:
        return f"modelfactory/_step_{self.step}.html"


def wizard(user: Any, form: RunForm, *, asked: str) -> Wizard:
    """The step that was asked for, or the first one before it that still needs an answer."""
    order = list(STEPS)
    first_open = form.first_open_step()
    wanted = order.index(asked) if asked in STEPS else 0
    step = order[min(wanted, order.index(first_open))]
    number = order.index(step)
    errors = _errors(form, step) if step != asked else []
    if not errors:  # a step that is only being opened has no mistakes yet
        for name in STEPS[step]:
            form.errors.pop(name, None)
    return Wizard(
        step=step,
        number=number + 1,
        next_step=order[min(number + 1, len(order) - 1)],
        back_query=_query(form, order[number - 1]) if number else "",
        carried=list(_carried(form, step)),
        errors=errors,
        versions=_version_options(user, form) if step == "data" else [],
        bases=_base_options(form) if step == "base" else [],
        efforts=_effort_options(form) if step == "effort" else [],
        protections=_protection_options(form) if step == "effort" else [],
        advanced_open=any(form.data.get(name) for name in ADVANCED),
        plan=services.make_plan(user, form.cleaned_data) if step == "plan" else None,
    )


def _carried(form: RunForm, step: str) -> Iterator[tuple[str, str]]:
    """The answers of all other steps, as hidden fields."""
    for name in form.fields:
        if form.data.get(name) and name not in STEPS[step]:
            yield name, form.data[name]


def _query(form: RunForm, step: str) -> str:
    query = QueryDict(mutable=True)
    query.update({name: form.data[name] for name in form.fields if form.data.get(name)})
    query["step"] = step
    return query.urlencode()


def _errors(form: RunForm, step: str) -> list[str]:
    return [
        f"{form[name].label}: {message}"
        for name in STEPS[step]
        for message in form.errors.get(name, [])
    ]


def _version_options(user: Any, form: RunForm) -> list[dict[str, Any]]:
    chosen = form.data.get("version", "")
    versions = versions_for_training(user)[:50]
    return [{"version": v, "chosen": str(v.public_id) == chosen} for v in versions]


def _base_options(form: RunForm) -> list[dict[str, Any]]:
    bases = list(selectors.bases_offered())
    chosen = form.data.get("base") or (bases[0].slug if bases else "")
    options = []
    for base in bases:
        fit = services.fit_for(base, services.recipe_of(base, Run.Effort.BALANCED, {}))
        options.append(
            {
                "base": base,
                "fit": fit,
                "fit_words": FIT_WORDS[fit.verdict],
                "fit_tone": FIT_TONES[fit.verdict],
                "parameters": _short(base.parameter_count),
                "chosen": base.slug == chosen,
            }
        )
    return options


def _effort_options(form: RunForm) -> list[dict[str, Any]]:
    chosen = form.data.get("effort") or str(Run.Effort.BALANCED)
    version, base = form.cleaned_data["version"], form.cleaned_data["base"]
    return [
        {
            "effort": effort.value,
            "label": effort.label,
            "help": EFFORT_HELP[effort.value],
            "time": services.time_in_words(
                services.estimated_seconds(version, services.recipe_of(base, effort, {}))
            ),
            "chosen": effort.value == chosen,
        }
        for effort in Run.Effort
    ]


def _protection_options(form: RunForm) -> list[dict[str, Any]]:
    """How much each choice would tell of a row, for this version and the effort chosen so far."""
    chosen = form.data.get("epsilon", "")
    effort = form.data.get("effort")
    effort = effort if effort in Run.Effort.values else Run.Effort.BALANCED
    version, base = form.cleaned_data["version"], form.cleaned_data["base"]
    options = []
    for epsilon in PRIVATE_EPSILONS:
        recipe = services.recipe_of(
            base, effort, {}, epsilon=epsilon, record_count=version.train_count
        )
        options.append(
            {
                "value": str(epsilon),
                "label": PROTECTION_LABELS[epsilon],
                "percent": percent_guessed(recipe.privacy) if recipe.privacy else None,
                "chosen": chosen == str(epsilon),
            }
        )
    return options


def _short(count: int) -> str:
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f} billion"
    return f"{count / 1e6:.1f} million" if count >= 1_000_000 else f"{count:,}"


def run_context(user: Any, run: Run) -> dict[str, Any]:
    """Everything of a run's page: progress while it goes, the verdict when it is done."""
    events = selectors.run_events(run)
    curve = selectors.loss_curve(run) if run.succeeded else events.curve
    results = _readable_results(user, run) if run.succeeded else []
    return {
        "run": run,
        "job": run.job,
        "idempotency_key": uuid.uuid4(),
        "events": events.log,
        "progress": events.progress,
        "series": [{"name": "training loss", "points": curve}] if curve else [],
        "verdict": selectors.verdict_of(run) if run.succeeded else None,
        "privacy": privacy_of(run),
        "protection": protection_of(run),
        "results": results,
        "any_wrong": any(shown and not one.tuned_correct for one, shown in results),
        "index": selectors.index_of(run.adapter_digest),
        "model": getattr(run, "model", None),
        "clone_query": _clone_query(run),
        "remaining": _remaining(events.progress.remaining_seconds),
    }


def _remaining(seconds: int | None) -> str:
    return "" if seconds is None else services.time_in_words(seconds)


def _readable_results(user: Any, run: Run) -> list[tuple[EvaluationResult, bool]]:
    """Results with whether their text may be shown: only with a right to read the record.

    Of a record that one may read as one's own, the answer may still recite somebody else's.
    """
    results = selectors.evaluation_table(run)
    cards = record_cards(user, {result.record_id for result in results})
    if services.needs_guard(user, run):
        for result in results:
            known = (result.question, result.expected)
            result.tuned_answer = services.masked(run, result.tuned_answer, known)
    return [
        (result, result.record_id in cards and cards[result.record_id].readable)
        for result in results
    ]


def _clone_query(run: Run) -> str:
    """The wizard's address with this run's choices filled in."""
    query, protected = QueryDict(mutable=True), protection_of(run)
    query.update(
        {
            "name": run.name,
            "goal": run.goal,
            "version": str(run.version.public_id),
            "base": run.base.slug,
            "effort": run.effort,
            "rank": str(run.recipe.get("rank", "")),
            "learning_rate": str(run.recipe.get("learning_rate", "")),
            "epochs": str(run.recipe.get("epochs", "")),
            "seed": str(run.seed),
            "epsilon": f"{protected.privacy.epsilon:g}" if protected else "",
            "step": "effort",
        }
    )
    return query.urlencode()


def publish_initial(run: Run) -> dict[str, Any]:
    """The publish form filled from facts."""
    card = services.suggested_card(run, selectors.verdict_of(run))
    return {"name": run.name, "slug": slugify(run.name)[:60], "card": card}


def model_context(model: Model) -> dict[str, Any]:
    contributors = list(model.contributors.select_related("contributor"))
    return {
        "model": model,
        "run": model.run,
        "card": card_html(model.card),
        "verdict": selectors.verdict_of(model.run),
        "contributors": contributors,
        "shares": [{"label": c.contributor.name, "value": c.row_count} for c in contributors],
        "example_price_wei": services.short_answer_wei(model),
        "guard": selectors.guard_of(model.run),
        "privacy": privacy_of(model.run),
        "protection": protection_of(model.run),
        **fidelity_context(model),
    }


def card_html(text: str) -> SafeString:
    """User-written Markdown as HTML that holds no script, style, frame or remote picture."""
    html = markdown.markdown(text, extensions=["tables", "fenced_code"], output_format="html")
    tags = nh3.ALLOWED_TAGS - {"img", "h1"}
    return mark_safe(nh3.clean(html, tags=tags))  # noqa: S308 # cleaned on this line
