#!/bin/bash
# A harness for the durability campaigns. What it does depends on its name's number and its turn alone; everything it sees
# and does it notes outside of drover, one appended line each: start, read, sent, end.
me="$DROVER_SESSION_ID $DROVER_TURN $$"
note() {
  printf '%s %s %s\n' "$1" "$me" "$2" >>"$CAMPAIGN_DIR/witness"
}

# Who started our launcher: the fourth field of its stat, behind the command's name.
read -r stat <"/proc/$PPID/stat"
# shellcheck disable=SC2086 # split into fields on purpose
set -- ${stat##*) }
note start "$PPID ${2:-0} ${EPOCHREALTIME/./}"

rest=$(</dev/stdin)
tokens=
while [[ $rest =~ tok-[a-z0-9-]+ ]]; do
  tokens="$tokens ${BASH_REMATCH[0]}"
  rest=${rest#*"${BASH_REMATCH[0]}"}
done
note 'read' "$tokens"

# A pipe nobody writes to: reading from it with a limit sleeps without a process of its own.
exec {hold}<> <(:)
rest() {
  read -r -t "$1" -u "$hold"
}
number=${DROVER_AGENT_NAME//[!0-9]/}
number=$((10#${number:-0}))
roll=$(((number * 31 + DROVER_TURN * 17) % 100))

printf '%s\n' '{"type":"session","native_session_id":"fake-'"$DROVER_SESSION_ID"'","model":null,"version":null}'
[ "$CAMPAIGN_MODE" = chat ] || . "${0%/*}/campaign-$CAMPAIGN_MODE.sh"

# What leaves the session of the turn and outlives its parent: ended by its marker alone. Early, so that it has left when we end.
if [ $((roll % 3)) -eq 1 ]; then
  setsid sleep 600 >/dev/null 2>&1 </dev/null &
fi

lines=$((4 + roll % 9))
for ((i = 0; i < lines; i++)); do
  printf '%s\n' '{"type":"text","text":"line '"$i of turn $DROVER_TURN"'"}'
  rest 0.03
done
if [ $((roll % 3)) -eq 0 ] && [ ! -e "$CAMPAIGN_DIR/drain" ]; then
  mapfile -t peers <"$CAMPAIGN_DIR/peers"
  if [ "${#peers[@]}" -gt 0 ]; then
    token="tok-a-$number-$DROVER_TURN-$$"
    to=${peers[$((roll % ${#peers[@]}))]}
    "$DROVER_BIN" mail send --to "$to" --subject news --body "$token" >/dev/null 2>&1 && note sent "$token"
  fi
fi
note end ''
printf '%s\n' '{"type":"result","ok":true,"reason":"end","text":"done","model_turns":1,"denials":[]}'
