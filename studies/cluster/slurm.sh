#!/bin/bash
#SBATCH --job-name=sweep
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@300
# A study on the nodes of a SLURM job; with GPUs add  #SBATCH --gpus-per-node=4
#
#   sbatch studies/cluster/slurm.sh studies/fashion.yaml
#
# Submit it from the folder in which you would type `sweep run`, with the environment active: SLURM passes it on. Five minutes
# before the time is over the trials write checkpoints and stop; submit the same again, and the study goes on.
# (`ray symmetric-run` starts the same cluster in one line, but ends with `ray stop`, which ends your other jobs' Ray, too.)
set -eu
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=${PORT:-$((20000 + SLURM_JOB_ID % 20000))}
started=()

on_nodes() { # COUNT OPTION...: start Ray there, beside what follows
    local count=$1 where=$2
    shift 2
    srun --overlap "--nodes=$count" "--ntasks=$count" "$where" \
        ray start "$@" --block --disable-usage-stats "--num-cpus=$SLURM_CPUS_PER_TASK" &
    started+=($!)
}

finish() {
    kill "${started[@]}" 2>/dev/null || true
    wait "${started[@]}" 2>/dev/null || true
}
trap finish EXIT

on_nodes 1 "--nodelist=$head" --head "--port=$port" --include-dashboard=false
until (: >"/dev/tcp/$head/$port") 2>/dev/null; do
    kill -0 "${started[0]}" # or Ray could not be started
    sleep 1
done
if ((SLURM_JOB_NUM_NODES > 1)); then
    on_nodes $((SLURM_JOB_NUM_NODES - 1)) "--exclude=$head" "--address=$head:$port"
fi

# Nodes that are not there yet get trials as soon as they are.
sweep run "$@" --ray "$head:$port" &
sweep=$!
trap 'kill -TERM "$sweep" 2>/dev/null || true' TERM
code=0
wait "$sweep" || code=$?
while kill -0 "$sweep" 2>/dev/null; do # the signal has ended the waiting, and the trials are still stopping
    code=0
    wait "$sweep" || code=$?
done
exit "$code"
