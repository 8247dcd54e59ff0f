"""Parts of the money benchmarks: a database server of their own, clients that post, peers."""
