"""`make run`: the whole site on one machine, and nothing left behind after Ctrl-C.

PostgreSQL and the dev chain are started only where no `DATABASE_URL` / `CHAIN_RPC_URL` is set.
`--drive COMMAND…` runs a program against the ready site (the demo, the journeys); with `--once`
the site stops with it and its exit status is ours.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import environ

from openledger_site.core.local.postgres import local_database_url
from openledger_site.core.local.processes import Process, Supervisor, free_port
from openledger_site.core.local.secrets import local_secret

ROOT = Path(__file__).resolve().parents[3]
# Torch and numpy: one thread each, sleeping instead of spinning; two cores serve seven processes.
QUIET_THREADS = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
}


class Stopped(Exception):
    """Ctrl-C or SIGTERM."""


def main(argv: list[str]) -> int:
    options = _arguments(argv)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    began = time.monotonic()
    supervisor: Supervisor | None = None
    try:
        environment = _environment()
        supervisor = Supervisor(_local() / "logs", environment)
        _start_all(supervisor, environment)
        ready_seconds = time.monotonic() - began
        print(f"Site   {environment['SITE_URL']}   (ready in {ready_seconds:.1f} s)", flush=True)
        print(f"Logs   {supervisor.logs}\nCtrl-C stops everything.", flush=True)
        if options.drive:
            status = _drive(options.drive, supervisor, environment, ready_seconds)
            if options.once:
                return status
        _watch(supervisor)
    except Stopped:
        print("\nStopping…", flush=True)
    finally:
        if supervisor is not None:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave orphans
            supervisor.stop()
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop when the driven program ends")
    parser.add_argument(
        "--drive", nargs=argparse.REMAINDER, help="program to run on the ready site"
    )
    return parser.parse_args(argv)


def _local() -> Path:
    return Path(os.environ.get("OPENLEDGER_LOCAL_DIR", str(ROOT / ".local")))


def _environment() -> dict[str, str]:
    """The children's environment: free ports, one database, one engine secret.

    What `.env` says counts here too, or a database named there would be passed over.
    """
    environ.Env.read_env(ROOT / ".env")
    local = _local()
    environment = {**QUIET_THREADS, **os.environ, "OPENLEDGER_LOCAL_DIR": str(local)}
    environment["PYTHONUNBUFFERED"] = "1"
    # torch makes this folder when it is imported; in the system's it would stay behind.
    environment.setdefault("TORCHINDUCTOR_CACHE_DIR", str(local / "torch"))
    if not environment.get("DATABASE_URL"):
        environment["DATABASE_URL"] = local_database_url(local / "postgres")
        environment["OPENLEDGER_LOCAL_DATABASE"] = "1"
    environment.setdefault("SITE_URL", f"http://127.0.0.1:{free_port(8000)}")
    environment.setdefault("ENGINE_URL", f"http://127.0.0.1:{free_port(8600)}")
    environment.setdefault("ENGINE_TOKEN", local_secret(local, "engine"))
    if not environment.get("CHAIN_RPC_URL"):
        environment["CHAIN_RPC_URL"] = f"http://127.0.0.1:{free_port(8545)}"
        environment["OPENLEDGER_LOCAL_CHAIN"] = "1"
    # Messages of an earlier run are only old wake-ups: the rows say what is still to be done.
    shutil.rmtree(local / "broker", ignore_errors=True)
    (local / "beat-schedule").unlink(missing_ok=True)
    os.environ.update(environment)
    return environment


def _start_all(supervisor: Supervisor, environment: dict[str, str]) -> None:
    import django
    from django.core.management import call_command

    if environment.get("OPENLEDGER_LOCAL_CHAIN"):
        supervisor.start(Process("chain", _chain_command(environment)))
    if environment.get("OPENLEDGER_LOCAL_DATABASE"):
        keeper = [sys.executable, "-m", "openledger_site.core.local.postgres"]
        supervisor.start(Process("postgres", [*keeper, str(_local() / "postgres")]))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openledger_site.settings")
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("sync_base_models", verbosity=0)
    engine = _engine(environment)
    supervisor.start(engine)
    call_command("deploy_contracts", verbosity=0)
    web = _web(environment)
    for process in (web, *_celery_processes()):
        supervisor.start(process)
    supervisor.wait_until_ready(web)
    supervisor.wait_until_ready(engine)
    django.db.connections.close_all()


def _web(environment: dict[str, str]) -> Process:
    host, _, port = environment["SITE_URL"].rpartition("//")[2].partition(":")
    command = [sys.executable, "-m", "uvicorn", "openledger_site.asgi:application"]
    command += ["--host", host, "--port", port or "80", "--lifespan", "off", "--no-access-log"]
    return Process("web", command, ready_url=f"{environment['SITE_URL']}/readyz")


def _celery_processes() -> list[Process]:
    celery = [sys.executable, "-m", "celery", "-A", "openledger_site"]

    def worker(name: str, queues: str, *pool: str) -> Process:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
        command = [*celery, "worker", "-n", f"{name}@%h", "-Q", queues, "--pool", *pool, *quiet]
        return Process(name, command)

    return [
        worker("worker", "sweeps,chain,ingest,mail", "threads", "-c", "4"),
        # Pool solo: a forked child of a process that has used torch hangs.
        worker("trainer", "ml", "solo"),
        worker("attribution", "attribution", "solo"),
        Process("beat", [*celery, "beat", "-l", "WARNING", "--pidfile="]),
    ]


def _chain_command(environment: dict[str, str]) -> list[str]:
    state = _local() / "chain" / "state.json"
    state.parent.mkdir(parents=True, exist_ok=True)
    port = environment["CHAIN_RPC_URL"].rpartition(":")[2]
    return [sys.executable, "-m", "rewards.chain.local", "--state-file", str(state), "--port", port]


def _engine(environment: dict[str, str]) -> Process:
    from django.core.management import call_command

    printed = io.StringIO()
    call_command("engine_command", "--json", stdout=printed)
    command = json.loads(printed.getvalue())
    return Process(
        "engine",
        command["args"],
        ready_url=f"{environment['ENGINE_URL']}/health",
        ready_headers={"Authorization": f"Bearer {environment['ENGINE_TOKEN']}"},
        environment=command["env"],
    )


def _drive(
    command: list[str], supervisor: Supervisor, environment: dict[str, str], ready_seconds: float
) -> int:
    """Run the program while keeping the site up; returns its exit status."""
    driver = subprocess.Popen(
        command, env={**environment, "SITE_READY_SECONDS": f"{ready_seconds:.2f}"}
    )
    try:
        while driver.poll() is None:
            _say(supervisor.revive())
            time.sleep(0.2)
    finally:
        if driver.poll() is None:
            driver.terminate()
            driver.wait(10)
    return int(driver.returncode)


def _watch(supervisor: Supervisor) -> None:
    while True:
        _say(supervisor.revive())
        time.sleep(0.5)


def _say(revived: list[str]) -> None:
    for name in revived:
        print(json.dumps({"restarted": name}), flush=True)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
