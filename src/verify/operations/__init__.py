"""What an operator does beside taking envelopes: backup, restore, archive, migration."""
