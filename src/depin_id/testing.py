"""For tests of whoever builds on the SDK: keys, signed packs and a small network in memory.

Nothing here is for production: every key can be made by anyone from its seed.
"""

from depin_id._testing.cases import Case, cases
from depin_id._testing.world import NOW, TestDevice, TestNetwork, key_from_seed, some_readings

__all__ = ["NOW", "Case", "TestDevice", "TestNetwork", "cases", "key_from_seed", "some_readings"]
