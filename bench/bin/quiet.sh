#!/bin/sh
# A harness that says who it is and then stays, without a word.
echo '{"type":"session","native_session_id":"n","model":null,"version":null}'
exec sleep 3600
