"""Diaries: does a model know how much it knows?"""

from nosce.worlds.diaries.world import Diaries, diarist

__all__ = ["Diaries", "diarist"]
