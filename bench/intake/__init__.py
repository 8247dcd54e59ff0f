"""What `bench/ingest.py` is made of: large files, bad files, a live site, a client that is cut."""
