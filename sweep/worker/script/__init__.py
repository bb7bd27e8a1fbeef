"""A program as the objective: each trial starts it once, with the trial's values in place of its placeholders.

    worker                                                        the script, a process group of its own
    objective_of(command)(trial) ── SWEEP_TRIAL, words filled in ──►  python train.py --lr=0.01
      trial.report ◄─ 1. `from sweep import trial` ══ socket ═════════  trial.report(step, {"loss": 0.1})
      trial.report ◄─ 2. a JSON line with the metric's name ══════════  stdout, or metrics.jsonl in the run folder
      trial.report ◄─ 3. scalars ═════════════════════════════════════  TensorBoard's event files, in ${logdir} or ${dir}
      log.txt      ◄─ everything else ════════════════════════════════  stdout, stderr

    run.py  the loop, and how the script is brought to its end     reports.py     the three ways, made into reports
    process.py  the process group, and lines as they come          connection.py  what the live trial says to a script

All three ways are watched, and the first one that reports is the one that counts: nobody has to choose. The loop is the
worker's main thread; it alone calls the live trial, so decisions reach the script in the order of its reports.

**How it ends.** Exit code 0 completes the trial, any other fails it with the end of its output. A script that is pruned or
stopped leaves `trial.report` without a traceback if it is connected (way 1), and has `PATIENCE_S` to get there; after that, or
at once if it is not connected, its group gets SIGTERM, and SIGKILL `GRACE_S` after it was first asked. What it leaves running
ends with it. It has a group and no session of its own, so that exactly its processes are ended, inline too; the worker's
death, after which nobody can tidy up, is seen by the kernel (its main process) and by a `Guardian` (the whole group).

**What an interruption costs.** A script that gives `trial.report` a state goes on as a function does: with its state, its
random number generators, its event files cut back. One whose command names `${step}`, the last reported step (0 at the
start), goes on by itself, from its own checkpoint in `${dir}`: reports of steps up to that one are dropped, so it must report
a step before it saves it. Every other script starts over, its event files and metrics.jsonl with it.
"""
