#!/bin/bash
# A harness of the limit campaign: a few model calls with a tool call after each. While the file `blocked` is there its
# provider refuses every call, and tells the reset instant that the file holds. Every call is noted outside of drover.
note() {
  printf '%s %s %s %s\n' "$1" "$DROVER_SESSION_ID" "$DROVER_TURN" "${EPOCHREALTIME/./}" >>"$CAMPAIGN_DIR/witness"
}
exec {hold}<> <(:)
say() {
  printf '%s\n' "$1"
}

note start
read -r -d '' _
number=${DROVER_AGENT_NAME//[!0-9]/}
number=$((10#${number:-0}))
say '{"type":"session","native_session_id":"limit-'"$DROVER_SESSION_ID"'","model":null,"version":null}'
calls=$((6 + (number * 7 + LIMIT_SEED) % 6))
for ((i = 0; i < calls; i++)); do
  if read -r resets_at 2>/dev/null <"$CAMPAIGN_DIR/blocked"; then
    note refused
    # As real ones do: the limit is also told as if the model had said it.
    say '{"type":"text","text":"You have hit your limit."}'
    say '{"type":"limit","limit":{"kind":"usage_limit","status":429,"message":"limit","resets_at":'"$resets_at"',"retry_after_ms":null,"final":true}}'
    say '{"type":"result","ok":false,"reason":"usage_limit","text":"","model_turns":0,"denials":[]}'
    exit 1
  fi
  note call
  say '{"type":"text","text":"step '"$i"'"}'
  say '{"type":"tool_use","tool_id":"c'"$i"'","tool":"Bash","input":"make part'"$i"'","files":[]}'
  read -r -t "0.$((150 + (number * 13 + i * 29 + LIMIT_SEED) % 100))" -u "$hold"
  say '{"type":"tool_result","tool_id":"c'"$i"'","is_error":false,"output":"built"}'
done
note end
say '{"type":"result","ok":true,"reason":"end","text":"done","model_turns":'"$calls"',"denials":[]}'
