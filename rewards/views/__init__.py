"""Pages of the books, of votes and of stakes."""
