"""Banjie 办结: complaints to the unit that must answer, and every unit to its time limit."""
