"""What people fill in about money, votes and stakes."""
