#!/bin/bash
# slurm_array.sh - one list of prompts on many machines, as a Slurm job array.
#
#   sbatch scripts/slurm_array.sh --model FOLDER --from-file prompts.txt -o pictures/p.png [OPTIONS]
#
#SBATCH --job-name=mole
#SBATCH --array=1-20
#SBATCH --cpus-per-task=8
#SBATCH --mem=12G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output=mole-%A-%a.log
set -eu
shard=$(((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN) / ${SLURM_ARRAY_TASK_STEP:-1} + 1))
exec mole generate --shard "$shard/$SLURM_ARRAY_TASK_COUNT" --threads "${SLURM_CPUS_PER_TASK:-1}" "$@"
