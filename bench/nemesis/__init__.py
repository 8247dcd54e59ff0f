"""Parts of `bench faults`: real processes that move money, what is done to them, and the check."""
