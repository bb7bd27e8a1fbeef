"""What a study's trials say about its hyperparameters, and how sure that is. Plain statistics, for every method and metric.

trials.py      which trials are trainings of one setting
intervals.py   Student's and Wilson's intervals, the spread within groups
importance.py  what a parameter explains, alone and together with others
settings.py    which setting is best, and by how much
comparison.py  value against value, everything else being equal
"""
