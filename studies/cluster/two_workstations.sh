#!/bin/sh
# One study on two workstations, with the same versions of Python, sweep, torch and Ray on both (pip install '.[ray]').
#
#   on the first:                     sh studies/cluster/two_workstations.sh head
#   on the second:                    sh studies/cluster/two_workstations.sh join FIRST
#   on the first, another terminal:   sh studies/cluster/two_workstations.sh run FIRST studies/fashion.yaml
#
# FIRST is the first machine's address. Each of the first two commands stays in its terminal; Ctrl-C takes its machine out of
# the cluster. All ports of both machines must be open for the other one, and for no third: whoever reaches them can run programs.
set -eu
port=${PORT:-6379}
role=${1:-}

case $role in
head) exec ray start --head "--port=$port" --block --disable-usage-stats --include-dashboard=false ;;
join) exec ray start "--address=$2:$port" --block --disable-usage-stats ;;
run)
    first=$2
    shift 2
    exec sweep run "$@" --ray "$first:$port"
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
