"""Networks. They import nothing of ours but each other."""
