"""Fine-tuning of causal language models with LoRA: pure machine learning, no Django.

- `recipe.py`   what to train and how: `Example`, `Recipe`, the presets `EFFORTS`, time estimates
- `chat.py`     the one place that turns messages into token ids and loss masks
- `base.py`     loads a base model and its tokenizer, and names it by the digest of its files
- `lora.py`     `train()`: the loop, progress, checkpoints that survive `kill -9`, the final adapter
- `private.py`  steps that protect single records: sampled, clipped, hidden in noise
- `accounting.py` what such noise keeps: plain Python, the site plans with it
- `checkpoint.py` writes and finds complete checkpoints
- `evaluate.py` greedy answers and exact match, base against tuned
- `__main__.py` `python -m modelfactory.training FOLDER`: one run in a child process
- `base_model/` builds the embedded base from nothing

Importing this package imports no torch.
"""

from __future__ import annotations
