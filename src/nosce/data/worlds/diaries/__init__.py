"""Diaries: does a model know how much it knows (arXiv:2502.19573)?"""

from nosce.data.worlds.diaries.world import Diaries, diarist

__all__ = ["Diaries", "diarist"]
