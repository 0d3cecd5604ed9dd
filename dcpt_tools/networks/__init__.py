"""Commands that write networks for others: export, pack."""
