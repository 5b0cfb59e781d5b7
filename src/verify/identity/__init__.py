"""Who is behind a key: histories of DIDs, birth certificates, owners, wallets, capabilities."""
