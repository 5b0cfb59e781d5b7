"""Credentials: what manufacturers, owners and laboratories say of devices, and its status."""
