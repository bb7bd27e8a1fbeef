"""How each kind of statement is computed, from which source, and how well it held: what `why?` opens in the report.

The measured shares are those of `python -m tests.benchmarks.calibration`.
"""

from __future__ import annotations

from typing import Literal

Topic = Literal[
    "best",
    "sure",
    "behind",
    "once",
    "settle",
    "share",
    "interplay",
    "comparison",
    "chance",
    "code",
    "missing",
    "again",
    "common",
    "apart",
]

WHY: dict[Topic, str] = {
    "best": "A normal model of settings and seeds: settings that hardly differ are drawn together, because the best of several"
    " is in part the luckiest (Efron and Morris 1975; Gelman et al., Bayesian Data Analysis, chapter 5). The variance is pooled"
    " where seeds are few (Smyth 2004). In simulated studies the interval held the setting's true mean in 93 to 99 %.",
    "sure": "The share of 4,000 draws from the same model in which the setting is the best. In simulated studies, statements"
    " of about the same certainty were true as often as they said, within 7 points.",
    "behind": "Hsu's multiple comparisons with the best (1984), with the quantile of the studentised range. The intervals hold"
    " together: in simulated studies without any difference, some setting was called clearly behind in at most 7 %.",
    "once": "Without seeds, chance is estimated from what the parameters' effects leave: at most that much is chance. The same"
    " normal model then takes the luck of being selected off the best value.",
    "settle": "Results of further seeds are simulated from the model: so many are needed until the best is known with 95 % in"
    " four of five simulated futures.",
    "share": "Shares of the variance of ranks, with failed and pruned trials as the worst (Lachin 1999). In a complete grid by"
    " analysis of variance, in a search by one additive model of all parameters at once; the interval inverts the noncentral F"
    " distribution (Steiger and Fouladi 1997). In simulated studies it held in 92 to 99 %, and a parameter without any effect"
    " was above 0 in at most 4 %.",
    "interplay": "An F test of each pair in the complete grid, against what the seeds change or else against the other"
    " interactions, corrected for the number of pairs. In simulated studies without any interplay a pair was named in at most"
    " 5 %.",
    "comparison": "Student's interval of the mean difference of pairs of trials that are equal in everything else. In simulated"
    " studies it held in 93 to 97 %.",
    "chance": "The variance within settings that were trained with several seeds, as a share of that of all trials' ranks.",
    "code": "Each run records a digest of the code that trained it.",
    "again": "What further trainings of each best setting will give comes from the model of its own study; the interval of their"
    " difference is made of the two intervals (Zou and Donner 2008). In simulated pairs of studies it held in 97 to 100 %, and a"
    " best setting was called better in at most 3 % without being so.",
    "common": "Student's interval of the mean difference of pairs of trials, one of each study, that are equal in every parameter"
    " that either study sweeps, and in the number of the seed. In simulated pairs of studies it held in 93 to 98 %.",
    "apart": "Results are compared only if the first metric and its goal are the same.",
    "missing": "Nothing is said that the number of trials does not allow.",
}
