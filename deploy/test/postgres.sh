#!/usr/bin/env bash
# A PostgreSQL server for tests: durable settings, loopback only, its own folder.
#
#   postgres.sh start DIR [PORT]   start it (PORT 0 or none: a free one) and print its DSN
#   postgres.sh stop DIR           stop it; the data stays in DIR
#
# DIR is made if it is missing; a second start of a running server prints its DSN again. DIR
# must be short (a socket lies in it). Without PostgreSQL, root installs it through apt-get;
# anybody else is told to.
set -euo pipefail

fail() {
  echo "postgres.sh: $*" >&2
  exit 1
}

usage() {
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# binaries prints the newest installed server's folder.
binaries() {
  local folders=(/usr/lib/postgresql/*/bin)
  [[ -x ${folders[0]}/initdb ]] || return 1
  printf '%s\n' "${folders[@]}" | sort -V | tail -1
}

install_server() {
  ((UID == 0)) || fail "PostgreSQL is not installed: run 'apt-get install postgresql' as root"
  command -v apt-get >/dev/null || fail "PostgreSQL is not installed and there is no apt-get"
  echo "postgres.sh: installing PostgreSQL" >&2
  {
    apt-get update -qq &&
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
  } >&2 || fail "apt-get could not install PostgreSQL"
}

free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  fail "no free port"
}

start() {
  local dir=$1 port=${2:-0} bin dsn
  mkdir -p "$dir/sock"
  dir=$(cd "$dir" && pwd)
  ((${#dir} < 80)) || fail "$dir is too long for a socket"
  bin=$(binaries) || {
    install_server
    bin=$(binaries) || fail "PostgreSQL is still not there after its installation"
  }
  # the server refuses to run as root
  local as=()
  if ((UID == 0)); then
    chown -R postgres "$dir"
    as=(setpriv --reuid=postgres --regid=postgres --init-groups)
  fi
  cd /
  "${as[@]}" test -w "$dir" || fail "user postgres cannot reach $dir"
  if [[ -f $dir/dsn ]] && "${as[@]}" "$bin/pg_ctl" -D "$dir/data" status >/dev/null 2>&1; then
    cat "$dir/dsn"
    return
  fi
  if [[ ! -f $dir/data/PG_VERSION ]]; then
    "${as[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
      >"$dir/initdb.log" 2>&1 || fail "initdb: $(tail -3 "$dir/initdb.log")"
  fi
  # somebody may take a free port before the server does: take another one
  local tries=1
  ((port)) || tries=5
  while ((tries--)); do
    local chosen=$port
    ((chosen)) || chosen=$(free_port)
    if "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -w -t 60 -l "$dir/log" -o "-p $chosen \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories=$dir/sock \
        -c max_connections=200" start >"$dir/start.log" 2>&1; then
      dsn="postgres://postgres@127.0.0.1:$chosen/postgres?sslmode=disable"
      echo "$dsn" | tee "$dir/dsn"
      return
    fi
  done
  fail "the server does not start: $(tail -3 "$dir/log")"
}

stop() {
  local dir bin as=()
  dir=$(cd "$1" 2>/dev/null && pwd) || return 0
  bin=$(binaries) || return 0
  ((UID != 0)) || as=(setpriv --reuid=postgres --regid=postgres --init-groups)
  cd /
  rm -f "$dir/dsn"
  "${as[@]}" "$bin/pg_ctl" -D "$dir/data" status >/dev/null 2>&1 || return 0
  "${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null
}

case ${1-} in
start) (($# == 2 || $# == 3)) || usage && start "${@:2}" ;;
stop) (($# == 2)) || usage && stop "$2" ;;
*) usage ;;
esac
