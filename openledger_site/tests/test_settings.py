"""Settings, documents and commands name each other correctly."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from celery import current_app
from django.conf import settings
from django.core.management import get_commands

from openledger_site.celery import app

ROOT = Path(settings.BASE_DIR)
EXAMPLE = (ROOT / ".env.example").read_text()
SETTINGS = (ROOT / "openledger_site" / "settings.py").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()
APPS = ("openledger_site", "rewards", "datanets", "modelfactory", "marketplace")


def variables_read() -> set[str]:
    return set(re.findall(r"\benv\.\w+\(\s*\"([A-Z_]+)\"", SETTINGS))


def variables_listed() -> set[str]:
    return set(re.findall(r"^#([A-Z_]+)=", EXAMPLE, re.MULTILINE))


def test_the_example_lists_each_variable_that_settings_read_and_no_other() -> None:
    assert len(variables_read()) > 20
    assert variables_listed() == variables_read()


def test_each_variable_in_the_example_has_a_comment() -> None:
    lines = EXAMPLE.splitlines()
    bare = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if re.match(r"#[A-Z_]+=", line) and not above.startswith("# ")
    ]
    assert not bare


def test_the_example_as_it_stands_is_a_working_configuration(tmp_path: Path) -> None:
    """Every line switched on, save the two that name what only this machine knows."""
    listed = dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    machine = {"DATABASE_URL": "postgresql://nobody@localhost/none"}
    machine["OPENLEDGER_LOCAL_DIR"] = str(tmp_path)
    assert in_new_process("import django; django.setup(); print('up')", **listed | machine) == "up"


def in_new_process(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "openledger_site.settings", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_what_the_env_file_says_counts_for_make_run_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://somebody@elsewhere/theirs\n")
    script = (
        "import pathlib; from openledger_site.core.local import run\n"
        f"run.ROOT = pathlib.Path({str(tmp_path)!r})\n"
        "print(run._environment()['DATABASE_URL'])"
    )
    local = {"OPENLEDGER_LOCAL_DIR": str(tmp_path / "local")}
    local["CHAIN_RPC_URL"] = "http://127.0.0.1:9"
    assert in_new_process(script, **local) == "postgresql://somebody@elsewhere/theirs"


def test_a_deployment_without_a_secret_key_does_not_start() -> None:
    with pytest.raises(AssertionError, match="SECRET_KEY is empty"):
        in_new_process("import django; django.setup()", DEBUG="0", SECRET_KEY="")


@pytest.fixture(scope="module")
def web_process() -> dict[str, object]:
    """What a web process says of itself once every route, task and job handler is imported."""
    script = (
        "import json, sys, openledger_site.asgi, web3, eth_account\n"
        "from django.urls import get_resolver\n"
        "from openledger_site.celery import app\n"
        "app.loader.import_default_modules()\n"
        "list(get_resolver().reverse_dict)\n"
        "found = {'learning': [m for m in ('torch', 'transformers', 'peft') if m in sys.modules]}\n"
        "try: json.loads('[' * 100_000)\n"
        "except RecursionError: found['nested'] = 'refused'\n"
        "print(json.dumps(found))"
    )
    return dict(json.loads(in_new_process(script)))


def test_no_web_process_loads_torch(web_process: dict[str, object]) -> None:
    assert web_process["learning"] == []


def test_a_deeply_nested_body_cannot_end_the_web_process(web_process: dict[str, object]) -> None:
    """Some library of the chain raises Python's recursion limit so far that parsing it crashes."""
    assert web_process["nested"] == "refused"


def test_the_clock_names_tasks_that_exist() -> None:
    app.loader.import_default_modules()
    named = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert named <= set(current_app.tasks)


def test_each_queue_that_work_is_sent_to_has_a_worker() -> None:
    source = (ROOT / "openledger_site" / "core" / "local" / "run.py").read_text()
    served = set(",".join(re.findall(r"worker\(\"\w+\", \"([\w,]+)\"", source)).split(","))
    files = [
        path for app in APPS for path in (ROOT / app).rglob("*.py") if "tests" not in path.parts
    ]
    sent = {q for path in files for q in re.findall(r"queue=\"(\w+)\"", path.read_text())}
    assert sent | {settings.CELERY_TASK_DEFAULT_QUEUE} <= served


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_command_in_the_documents_exists(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    assert set(re.findall(r"manage\.py ([a-z_]+)", text)) <= set(get_commands())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_file_that_a_document_links_to_exists(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_each_setting_named_in_the_operations_document_is_in_the_example() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", text)) - {"MEDIA_ROOT"}
    assert named <= variables_listed()
