"""A program as the objective: each trial starts it once, with the trial's values in place of its placeholders.

    worker                                                        the script, in its own process group
    objective_of(command)(trial) ── SWEEP_TRIAL, words filled in ──►  python train.py --lr=0.01
      trial.report ◄─ 1. `from sweep import trial` ══ socket ═════════  trial.report(step, {"loss": 0.1})
      trial.report ◄─ 2. a JSON line with the metric's name ══════════  stdout, or metrics.jsonl in the run folder
      trial.report ◄─ 3. scalars ═════════════════════════════════════  TensorBoard's event files, in ${logdir} or ${dir}
      trial.report ◄─ 4. rows of `wandb.log` ═════════════════════════  wandb's offline run, in ${dir}
      log.txt      ◄─ everything else ════════════════════════════════  stdout, stderr

    objective    one run of a script: the loop, and how it ends     client        what a script imports
    reports      the four ways become reports                       connection    the worker's end of the socket
    process      the process group                                  requests      what the client asks, answered
    lines        lines from pipes, sockets and files                private       a folder for the socket and ${logdir}
    wandb_run    what wandb logs offline                            wandb_file    its file, record by record
    asking       asks a program for its parameters, for a study     declaring     what then runs in the program

The first way that reports the metric counts; the others are then ignored. The loop is the worker's main thread, and only it calls
the trial's handle, so decisions reach the script in the order of its reports.

**How it ends.** Exit code 0 completes the trial, any other fails it with the end of its output. A connected script (way 1) that
is pruned or stopped leaves `trial.report` without a traceback, and has `PATIENCE_S` for that. After that, or at once if it is
not connected, its group gets SIGTERM, and SIGKILL `GRACE_S` after the first request. Processes that it leaves running are killed.

**What an interruption costs.** A script that gives `trial.report` a state resumes as a function does. One whose command names
`${step}`, the last reported step (0 at the start), resumes from its own checkpoint in `${dir}`: reports up to that step are
dropped, so it must report a step before it saves it. Every other script starts over, without its event files and metrics.jsonl.
"""
