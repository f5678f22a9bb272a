#!/bin/bash
# watch-turn.sh SHAPE: a harness of the watchdog campaign, healthy or sick. The limits it stays below, or goes beyond, are
# in WATCH_* (milliseconds). Notes its start, its last sign of life and its end outside of drover.
note() {
  printf '%s %s %s %s %s\n' "$1" "$DROVER_SESSION_ID" "$DROVER_TURN" "$$" "${EPOCHREALTIME/./}" >>"$CAMPAIGN_DIR/witness"
}
exec {hold}<> <(:)
# rest MS, or PERCENT of MS
rest() {
  local ms=$(($1 * ${2:-100} / 100))
  read -r -t "$((ms / 1000)).$(printf %03d $((ms % 1000)))" -u "$hold"
}
say() {
  printf '%s\n' "$1"
}
text() {
  say '{"type":"text","text":"'"$1"'"}'
}
use() {
  say '{"type":"tool_use","tool_id":"c'"$1"'","tool":"Bash","input":"make '"$2"'","files":[]}'
}
answer() {
  say '{"type":"tool_result","tool_id":"c'"$1"'","is_error":false,"output":"'"$2"'"}'
}
result() {
  say '{"type":"result","ok":true,"reason":"end","text":"done","model_turns":1,"denials":[]}'
}
last() {
  note last
}
for_ever() {
  while :; do rest 3600000; done
}

note start
read -r -d '' _
shape=$1
[ "$shape" = hang-first ] && last && for_ever
[ "$shape" = late ] && rest "$WATCH_FIRST" 60
say '{"type":"session","native_session_id":"w-'"$DROVER_SESSION_ID"'","model":null,"version":null}'
text hm
case $shape in
  tool) use 1 all && rest "$WATCH_ZOMBIE" 120 && : ; answer 1 built ;;
  slow) for i in 1 2 3 4 5; do rest "$WATCH_STALE" 60; text "step $i"; done ;;
  flood) line=$(printf 'x%.0s' {1..1000}); for ((i = 0; i < 2000; i++)); do text "$line"; done ;;
  trailing) note end; result; rest "$WATCH_RESULT" 50; exit 0 ;;
  pausing) rest $((WATCH_STALE + WATCH_NUDGE * 30 / 100)); text again ;;
  tools) for i in {1..20}; do use "$i" "part$i"; rest 60; answer "$i" "built $i"; done ;;
  polling) for i in {1..20}; do use "$i" status; rest 60; answer "$i" "$i of 20 done"; done ;;
  polls-builds)
    for ((i = 1; i <= WATCH_REPEATS + 2; i++)); do use "$i" status; rest 60; answer "$i" pending; done
    use "$i" all; rest "$WATCH_NUDGE" 320; answer "$i" built
    ;;
  children) setsid sleep 600 >/dev/null 2>&1 </dev/null & rest 300 ;;
  hang-turn) last; for_ever ;;
  hang-tool) use 1 all; last; for_ever ;;
  hang-result) result; last; for_ever ;;
  livelock)
    for ((i = 1; ; i++)); do
      use "$i" test; answer "$i" failed
      [ "$i" -ne "$WATCH_REPEATS" ] || last
      rest 100
    done
    ;;
  dead) rest 200; last; kill -9 "$PPID" $$ ;;
  forked) (setsid /bin/sh -c 'sleep 600; :' </dev/null &); rest 100; last; exit 0 ;;
esac
note end
result
