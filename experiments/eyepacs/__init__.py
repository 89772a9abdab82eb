"""EyePACS, fundus photographs, the task `binary`: moderate and above against the rest."""
