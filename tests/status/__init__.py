"""Status lists: the two standards, whoever holds lists, and an issuer's own record."""
