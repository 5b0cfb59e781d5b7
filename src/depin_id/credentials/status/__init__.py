"""Status lists: one bit or a few for each credential or capability, signed as one object."""

from depin_id.credentials.status.result import State, StatusCheck, StatusResult

__all__ = ["State", "StatusCheck", "StatusResult"]
