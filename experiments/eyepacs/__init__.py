"""EyePACS, fundus photographs, the five grades or the task `binary` (moderate and above)."""
