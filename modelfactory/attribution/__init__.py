"""Which trained rows moved an answer, and who is paid for it. Pure ML: no Django, no database.

Torch-free (a web process and an offline verifier may import them):

* ``shares.py``      the integer payout rule: scores in, parts per billion out
* ``sketch.py``      seeded, structured random projection of gradients; int8 rows
* ``basis.py``       rows of a small index as points in the span of its own records
* ``index.py``       the index folder of one adapter: rows, norms, curvature, manifest, digest
* ``index_writing.py``     write one, from gradients or from another with more records
* ``index_withdrawal.py``  leave withdrawn records out of it and of its calibration
* ``index_files.py``, ``opened.py``  folders known by digests, and which of them are kept open
* ``word_lists.py``  texts as lists of words, in arrays
* ``influence.py``   damped empirical Fisher, and gradient dot product
* ``lexical.py``     BM25: the baseline beside every score, and retrieval at answer time
* ``duplicates.py``  clusters of near-duplicate records
* ``phantoms.py``    never-trained records that teach the noise gate
* ``spans.py``       words of an answer that stand verbatim in trained rows, by suffix array
* ``passage_effects.py``  what each retrieved passage did to an answer, as integers
* ``method.py``      the one place where signals become the score that pays
* ``record.py``      the attribution of one answer as data, and its offline ``replay``
* ``job.py``         what a build reads from its folder

Needs torch:

* ``gradients.py``   per-record LoRA gradients of a batch in one backward pass
* ``build.py``       records and an adapter in, index folder out
* ``attribute.py``   prompt and response token ids in, ``Attribution`` out
* ``ablation.py``    an answer's log-probability with and without each passage it read
* ``worker.py``      keeps a base and its indexes warm and answers many attributions
* ``__main__.py``    all of it as child processes
"""

from __future__ import annotations
