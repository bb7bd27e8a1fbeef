"""Everything that TensorBoard reads. Called by workers, for their trials, and by the runner, for the whole study.

trial_log       what one run logs: its row, its scalars, best values, feasibility
writer          `TrialWriter`: a `SummaryWriter` whose run stays one run, and whose errors end no trial
hparams         the records of the HPARAMS tab
columns         the tab's columns that this package adds, and their order
panels          what an objective hands over for the other tabs
figures         pictures for the IMAGES tab
projector       files for the PROJECTOR tab
pareto_front    marks the trials of the Pareto front
event_files     event files as files: count records, cut back, replace
script_events   event files that a script writes
"""
