#!/bin/sh
# launcher.sh DIR BOOT -- PROGRAM ARG...
# Runs one turn and outlives it by a moment: DIR/pid.json says who we are, DIR/exit.json how the program ended.
# Descriptor 3 is DIR/stdout.jsonl, locked; the program inherits it, so the lock lives as long as either of us.
# Descriptor 4 tells us to go on, by one line. Our starter may die, or think better of it: then there is none, and we leave.
dir=$1 boot=$2
shift 3

# A trap, not '': ignored signals would be inherited. The program dies of a group signal, we stay to record it.
trap : HUP INT QUIT TERM USR1 USR2 ALRM

# Made while nobody waits, empty. Appended to, because cutting it off once more would make it wait for the disk.
printf '' >>"$dir/pid.json" || exit 125

# The word is our own start time, which reading here would take a system call per byte to find out.
read -r start <&4 || exit 0
exec 4<&-
printf '{"pid":%s,"start_time":"%s","boot_id":"%s"}\n' "$$" "$start" "$boot" >>"$dir/pid.json" || exit 125

"$@"
code=$?

# Over the blanks that stand there, without cutting them first: on a full disk there is no room but this.
# Builtins and one write: a helper process (mv, a subshell) could fall with the turn's other processes before us.
read -r uptime _ </proc/uptime
printf '{"code":%s,"uptime":"%s"}\n' "$code" "$uptime" 1<>"$dir/exit.json"
