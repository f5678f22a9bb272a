#!/bin/sh
# A harness that reads nothing, says the least that counts as done, and ends; after THINK seconds when it is told to think.
[ -z "${THINK-}" ] || sleep "$THINK"
echo '{"type":"session","native_session_id":"n","model":null,"version":null}
{"type":"result","ok":true,"reason":"end","text":"done","model_turns":1,"denials":[]}'
