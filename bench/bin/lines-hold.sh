# Sourced. A second opinion about who holds a shared thing: one symlink per holder, made in one step, whose text says whose
# it is (pid.start). A link that is in the way is a second holder, unless its owner is dead.

# owner_of PID: pid.start of a living process; fails when it is gone or a zombie.
owner_of() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # shellcheck disable=SC2086 # split into fields on purpose
  set -- "$1" ${stat##*) }
  [ "$2" != Z ] && [ "$2" != X ] && printf '%s.%s\n' "$1" "${21}"
}

# take DIR NAME PID: notes `hold` in DIR/holds, or `double` with the one who is there as well.
take() {
  local link="$1/held-$2" me there tries
  me=$(owner_of "$3") || return 1
  for tries in 1 2 3; do
    if ln -s -T "$me" "$link" 2>/dev/null; then
      printf 'hold %s %s\n' "$2" "$me" >>"$1/holds"
      return 0
    fi
    there=$(readlink "$link") || continue
    if [ "$(owner_of "${there%%.*}")" = "$there" ]; then
      printf 'double %s %s %s\n' "$2" "$me" "$there" >>"$1/holds"
      return 1
    fi
    # Its owner was killed with it. What is moved away has to be that link; any other is of somebody who came in as well.
    mv -T "$link" "$1/dead-$2-$me-$tries" 2>/dev/null || continue
    if [ "$(readlink "$1/dead-$2-$me-$tries")" != "$there" ]; then break; fi
    printf 'dead %s %s\n' "$2" "$there" >>"$1/holds"
  done
  printf 'double %s %s %s\n' "$2" "$me" "$(readlink "$link")" >>"$1/holds"
  return 1
}

# drop DIR NAME
drop() {
  rm -f "$1/held-$2"
  printf 'free %s\n' "$2" >>"$1/holds"
}
