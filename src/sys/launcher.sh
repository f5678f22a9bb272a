#!/bin/sh
# launcher.sh DIR BOOT -- PROGRAM ARG...
# Runs one turn and outlives it by a moment: DIR/pid.json says who we are, DIR/exit.json how the program ended.
# Descriptor 3 is DIR/stdout.jsonl, locked; the program inherits it, so the lock lives as long as either of us.
# Descriptor 4 tells us to go on. Our starter may die, or think better of it: then it ends without a word, and so do we.
dir=$1 boot=$2
shift 3

# A trap, not '': ignored signals would be inherited. The program dies of a group signal, we stay to record it.
trap : HUP INT QUIT TERM USR1 USR2 ALRM

# start time = field 22 of stat; the command name, field 2, is "(sh)" without blanks
identify() {
  # shellcheck disable=SC2086 # split into fields on purpose
  set -- $stat
  start=${22}
}
read -r stat <"/proc/$$/stat" && identify || exit 125
# Made while nobody waits, empty. Appended to, because cutting it off once more would make it wait for the disk.
: >>"$dir/pid.json" || exit 125

read -r _ <&4 || exit 0
exec 4<&-
printf '{"pid":%s,"start_time":"%s","boot_id":"%s"}\n' "$$" "$start" "$boot" >>"$dir/pid.json" || exit 125

"$@"
code=$?

# Over the blanks that stand there, without cutting them first: on a full disk there is no room but this.
# Builtins and one write: a helper process (mv, a subshell) could fall with the turn's other processes before us.
read -r uptime _ </proc/uptime
printf '{"code":%s,"uptime":"%s"}\n' "$code" "$uptime" 1<>"$dir/exit.json"
