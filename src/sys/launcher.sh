#!/bin/sh
# launcher.sh DIR -- PROGRAM ARG...
# Runs one turn and outlives it by a moment: DIR/pid.json says who we are, DIR/exit.json how the program ended.
# Descriptor 3 is DIR/stdout.jsonl, locked; the program inherits it, so the lock lives as long as either of us.
dir=$1
shift 2

# A trap, not '': ignored signals would be inherited. The program dies of a group signal, we stay to record it.
trap : HUP INT QUIT TERM USR1 USR2 ALRM

# Whoever started us has usually written it already; reading here takes a system call per byte.
# start time = field 22 of stat; the command name, field 2, is "(sh)" without blanks
identify() {
  read -r boot </proc/sys/kernel/random/boot_id && read -r stat <"/proc/$$/stat" || return
  # shellcheck disable=SC2086 # split into fields on purpose
  set -- $stat
  printf '{"pid":%s,"start_time":"%s","boot_id":"%s"}\n' "$$" "${22}" "$boot" >"$dir/pid.json"
}
[ -s "$dir/pid.json" ] || identify || exit 125

"$@"
code=$?

# Over the blanks that stand there, without cutting them first: on a full disk there is no room but this.
# Builtins and one write: a helper process (mv, a subshell) could fall with the turn's other processes before us.
read -r uptime _ </proc/uptime
printf '{"code":%s,"uptime":"%s"}\n' "$code" "$uptime" 1<>"$dir/exit.json"
