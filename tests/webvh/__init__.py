"""did:webvh: logs, witnesses, pins, history."""
