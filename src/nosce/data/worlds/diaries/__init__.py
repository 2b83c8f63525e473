"""Diaries: does a model know how much it knows?"""

from nosce.data.worlds.diaries.world import Diaries, diarist

__all__ = ["Diaries", "diarist"]
