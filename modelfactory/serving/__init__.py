"""OpenLoRA: many LoRA adapters over one base model, in one process and in one batch. No Django.

Torch-free (the web process imports only these):

* ``engine.py``         the ``Engine`` protocol, requests, events and errors every engine shares
* ``client.py``         async and sync client of an engine process
* ``adapter_files.py``  what an adapter folder may contain, and its digest

Needs torch:

* ``adapter_loader.py`` reads and checks safetensors adapters
* ``adapter_cache.py``  resident adapters: byte budget, pins, one load at a time per digest
* ``multi_lora.py``     different adapters for different rows of one batch
* ``slot_cache.py``     keys and values, one slot per running request
* ``text.py``           incremental detokenising, stop strings
* ``sampling.py``       the next token of each row
* ``scheduler.py``      who runs next: tenants, aging, adapter limit
* ``torch_engine.py``   the step loop: continuous batching over all of the above
* ``server.py``         the engine process's HTTP interface; ``python -m modelfactory.serving``
"""

from __future__ import annotations
