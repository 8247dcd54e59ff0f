"""Make a real adapter of the shipped base and its attribution index, in a process of its own.

`python -m modelfactory.tests.market_world FOLDER BASE`: reads `records.jsonl` (training examples)
from the folder, writes `adapters/<digest>` and `attribution/<digest>` there, and prints what it
made. The adapter is random, not trained: the market's tests are about money and shapes, and need
weights that differ from the base, not ones that know anything. It lies here because only this app
may import torch.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def make_world(folder: Path, base: str) -> dict[str, Any]:
    import torch
    from peft import LoraConfig, get_peft_model

    from modelfactory.attribution.job import BuildSpec, read_job
    from modelfactory.attribution.worker import AttributionWorker, run_build
    from modelfactory.training.adapter import adapter_digest
    from modelfactory.training.base import load_base
    from modelfactory.training.chat import messages_for, render

    torch.manual_seed(7)
    model, tokenizer = load_base(base)
    tuned = get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=["v_proj"])
    )
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    tuned.save_pretrained(folder / "new")
    digest = adapter_digest(folder / "new")
    adapter = folder / "adapters" / digest
    adapter.parent.mkdir(exist_ok=True)
    (folder / "new").rename(adapter)
    build = folder / "build"
    build.mkdir()
    (folder / "records.jsonl").rename(build / "records.jsonl")
    small = {"dimensions": 512}
    spec = BuildSpec(base, str(adapter), max_length=160, phantom_count=12, settings=small)
    (build / "spec.json").write_text(spec.to_json())
    job = read_job(build)
    index_digest = run_build(job, build)
    (folder / "attribution").mkdir(exist_ok=True)
    (build / "index").rename(folder / "attribution" / digest)
    worker = AttributionWorker(base, folder / "adapters", folder / "attribution")
    for record in job.records:
        first = record[0]
        rendered = render(tokenizer, messages_for(first.prompt), first.response)
        at = rendered.prompt_length
        prompt_ids, response_ids = list(rendered.ids[:at]), list(rendered.ids[at:])
        request = {"adapter_digest": digest, "prompt_ids": prompt_ids, "response_ids": response_ids}
        found = worker.attribute(request | {"question": first.prompt})
        best = max(found.records, key=lambda scored: scored.score)
        if found.attributable and best.record_id == first.record_id:
            return {
                "adapter_digest": digest,
                "index_digest": index_digest,
                "question": first.prompt,
                "answer": first.response,
                "prompt_ids": prompt_ids,
                "response_ids": response_ids,
            }
    raise SystemExit("no answer of these rows stands out from noise: take another seed")


if __name__ == "__main__":
    print(json.dumps(make_world(Path(sys.argv[1]), sys.argv[2])))
