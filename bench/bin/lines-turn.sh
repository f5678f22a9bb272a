#!/bin/bash
# A harness of the lines campaign: writes lines of its own into files that others write as well, commits them, and notes
# outside of the repository what it wrote (`wrote`), what a commit of its holds (`committed`, after git has returned) and
# what it is about to take out itself (`gone`). Lines carry a token that no other line has.
set -o pipefail
. "${0%/*}/lines-hold.sh"
me=$DROVER_AGENT_NAME
number=${me//[!0-9]/}
number=$((10#${number:-0}))
RANDOM=$(((number * 7919 + DROVER_TURN * 104729 + CAMPAIGN_SEED) % 32768))
exec {hold}<> <(:)
rest() {
  read -r -t "$1" -u "$hold"
}
# pause: longer the higher CAMPAIGN_PACE is.
pause() {
  local hundredths=$(((RANDOM % 9 + 1) * CAMPAIGN_PACE))
  rest "$((hundredths / 100)).$(printf %02d $((hundredths % 100)))"
}
say() {
  printf '%s\n' "$1"
}
ledger() {
  printf '%s\n' "$*" >>"$CAMPAIGN_DIR/ledger"
}
use() {
  say '{"type":"tool_use","tool_id":"c'"$1"'","tool":"Edit","input":"'"$2"'","files":[{"path":"'"$PWD/$2"'","action":"modify"}]}'
}
answer() {
  say '{"type":"tool_result","tool_id":"c'"$1"'","is_error":false,"output":"ok"}'
}

prompt=$(</dev/stdin)
read -r base <"$CAMPAIGN_DIR/base"
say '{"type":"session","native_session_id":"lines-'"$DROVER_SESSION_ID"'","model":null,"version":null}'
ledger "turn $me $DROVER_TURN $DROVER_SESSION_ID"

# unlock: what a predecessor that was killed left locked. Nobody else is here.
unlock() {
  rm -f "$(git rev-parse --git-dir)"/*.lock "$(git rev-parse --git-common-dir)/$(git rev-parse --symbolic-full-name HEAD).lock"
}

pending=()
# commit MESSAGE: everything there is.
commit() {
  local tries
  for tries in 1 2 3 4 5; do
    if git add -A 2>>"$CAMPAIGN_DIR/git-errors" && git commit -q -m "$1" 2>>"$CAMPAIGN_DIR/git-errors"; then
      [ "${#pending[@]}" -eq 0 ] || ledger "committed $me $DROVER_TURN $(git rev-parse HEAD) ${pending[*]}"
      pending=()
      return 0
    fi
    [ -n "$(git status --porcelain 2>/dev/null)" ] || return 1
    [ "$tries" -lt 3 ] || unlock
    rest 0.1
  done
  return 1
}

# both_sides: of a merge that stopped. Only the markers go.
both_sides() {
  local file
  git diff --name-only --diff-filter=U | while read -r file; do
    sed -i -e '/^<<<<<<< /d' -e '/^=======$/d' -e '/^>>>>>>> /d' "$file"
  done
  commit 'both sides'
}

# settle: takes the target in, so that the branch fits on it again. A git that is killed at it leaves files out, or without
# their end; `settling` says that nothing else stood in the files.
settle() {
  commit 'before settling' || [ -z "$(git status --porcelain)" ] || return 1
  : >"$settling"
  git merge -q -m "merge main into $me" main >/dev/null 2>>"$CAMPAIGN_DIR/git-errors"
  # 1: conflicts, of which both sides stand in the files.
  case $? in
    0) ;;
    1) [ -e "$(git rev-parse --git-dir)/MERGE_HEAD" ] && both_sides || return 1 ;;
    *) return 1 ;;
  esac
  rm -f "$settling"
  ledger "settled $me $DROVER_TURN"
}

# write_lines COUNT: into one file, at its head (where others write too), at its end, anywhere, or over one of our own.
write_lines() {
  local file lines at token spot i
  # Mostly near its own place, where its neighbours write too; now and then where everybody does.
  spot=$((RANDOM % 8 == 0 ? RANDOM % 3 : number * 3 + RANDOM % 5))
  file="src/f$((spot % CAMPAIGN_FILES + 1)).txt"
  mapfile -t lines <"$file"
  token="ln-$me-$DROVER_TURN-$$-$((++serial))"
  spot=$((RANDOM % 10))
  case $spot in
    0 | 1) at=1 ;;
    2 | 3) at=${#lines[@]} ;;
    *) at=$((RANDOM % (${#lines[@]} + 1))) ;;
  esac
  use "$serial" "$file"
  pause
  if [ "$spot" -ge 8 ]; then
    for i in "${!lines[@]}"; do
      [[ ${lines[i]} =~ ^(ln-$me-[0-9-]+)\  ]] || continue
      ledger "gone $me $DROVER_TURN ${BASH_REMATCH[1]}"
      unset 'lines[i]'
      at=$i
      break
    done
  fi
  # What a kill has cut off in there does not take the place of the file (pipefail).
  { printf '%s\n' "${lines[@]:0:at}"; printf '%s\n' "$token of $me, turn $DROVER_TURN"; printf '%s\n' "${lines[@]:at}"; } |
    sed '/^$/d' >"$CAMPAIGN_DIR/tmp/$token" && mv "$CAMPAIGN_DIR/tmp/$token" "$file" || return 1
  ledger "wrote $me $DROVER_TURN $token $file"
  pending+=("$token")
  answer "$serial"
}

# race NAME: for a shared thread, to be had for a moment. Whoever is told that it is ours has it alone.
race() {
  local name=$1 pid=$BASHPID said id token
  said=$("$DROVER_BIN" reserve --thread "$name" --anchor "$base" --hold-for-pid "$pid" 2>>"$CAMPAIGN_DIR/reserve-errors") || return
  [[ $said =~ \"session_id\":\"([^\"]+)\" ]] || return
  id=${BASH_REMATCH[1]}
  [[ $said =~ \"reservation_token\":\"([^\"]+)\" ]] && token=${BASH_REMATCH[1]}
  take "$CAMPAIGN_DIR" "$name" "$pid"
  rest "0.$((RANDOM % 9 + 1))"
  drop "$CAMPAIGN_DIR" "$name"
  "$DROVER_BIN" release --session "$id" ${token:+--token "$token"} --status complete >/dev/null 2>>"$CAMPAIGN_DIR/reserve-errors"
}

# race_two: two of us after the same one, and after that of others.
race_two() {
  local name="shared-$((RANDOM % CAMPAIGN_SHARED))"
  race "$name" &
  race "$name" &
  wait
}

# begin_anew: what was cut off while it settled. There was nothing in the files that is not in a commit.
begin_anew() {
  unlock
  git reset -q --hard 2>>"$CAMPAIGN_DIR/git-errors" && rm -f "$settling"
}

serial=0
settling=$(git rev-parse --git-dir)/campaign-settling
[ ! -e "$settling" ] || begin_anew || exit 1
[ ! -e "$(git rev-parse --git-dir)/MERGE_HEAD" ] || both_sides
[[ $prompt != *settle-with-main* ]] || settle || [ ! -e "$settling" ] || begin_anew || exit 1
[ ! -e "broken/$me" ] || { git rm -q -f "broken/$me" && commit 'mend'; }
for ((round = RANDOM % 2 + 1; round > 0; round--)); do
  for ((n = RANDOM % 3 + 1; n > 0; n--)); do write_lines; done
  [ "$((RANDOM % 3))" -ne 0 ] || race_two
  commit "work of $me"
done
if [ "$((RANDOM % 12))" -eq 0 ] && [ ! -e "$CAMPAIGN_DIR/drain" ]; then
  mkdir -p broken && : >"broken/$me" && commit 'break the gate'
fi
# Not everybody cleans up behind itself.
[ "$((RANDOM % 5))" -ne 0 ] || [ -e "$CAMPAIGN_DIR/drain" ] || write_lines
if [ "$((RANDOM % 5))" -ne 0 ]; then
  "$DROVER_BIN" done --summary "lines of $me" >/dev/null 2>&1
fi
say '{"type":"result","ok":true,"reason":"end","text":"done","model_turns":1,"denials":[]}'
