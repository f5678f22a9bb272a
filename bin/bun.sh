# Sourced by the launchers beside it, with $bin set to this directory. Leaves the Bun executable in $bun and cleans the
# environment of everything that makes Bun load code of somebody else's choice; exits 69 when there is no Bun.
# Written without forks but one: every fork costs as much as a tenth of the whole start.

# A `bun` whose install script never ran is a text file that only prints an error. An installed one is the same file as
# its `bunx`, which is cheap to see; only otherwise is the first line read.
is_bun() {
  [ -f "$1" ] && [ -x "$1" ] || return 1
  [ "$1" -ef "${1%/*}/bunx${1##*/bun}" ] && [ -s "$1" ] && return 0
  IFS= read -r first_line <"$1"
  case $first_line in 'echo "Error: Bun'*) return 1 ;; esac
}

bun=
modules=$bin/../node_modules
for candidate in "$modules"/@oven/bun-*/bin/bun "$modules/.bin/bun" "$modules/bun/bin/bun.exe"; do
  if is_bun "$candidate"; then bun=$candidate && break; fi
done

# Installed as somebody's dependency, the package lies in a node_modules of theirs, with Bun as its neighbour.
if [ -z "$bun" ] && [ "$bin/../.." -ef "$bin/../../../node_modules" ]; then
  modules=$bin/../..
  for candidate in "$modules"/@oven/bun-*/bin/bun "$modules/.bin/bun" "$modules/bun/bin/bun.exe"; do
    if is_bun "$candidate"; then bun=$candidate && break; fi
  done
fi

# Relative entries of PATH are passed over: the current directory belongs to the repository being worked on.
if [ -z "$bun" ]; then
  set -f
  IFS=:
  for directory in $PATH; do
    case $directory in /*) if is_bun "$directory/bun"; then bun=$directory/bun && break; fi ;; esac
  done
  unset IFS
  set +f
fi

if [ -z "$bun" ]; then
  printf '%s\n' \
    "drover: no Bun executable found in $bin/../node_modules or on PATH." \
    'It comes with the dependencies: run "npm install" there, or install Bun 1.4 or later (https://bun.com).' >&2
  exit 69
fi

set -f
IFS='
'
for line in $(export -p); do
  case $line in
    'export BUN_'* | 'declare -x BUN_'*)
      name=BUN_${line#*BUN_}
      name=${name%%=*}
      case $name in *[!A-Za-z0-9_]*) ;; *) unset "$name" ;; esac
      ;;
  esac
done
unset IFS
set +f
unset NODE_OPTIONS NODE_PATH
