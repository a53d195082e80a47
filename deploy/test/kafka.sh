#!/usr/bin/env bash
# An Apache Kafka broker for tests: one node (KRaft), loopback only, its own folder.
#
#   kafka.sh start DIR [PORT]   start it (PORT 0 or none: a free one) and print its address
#   kafka.sh kill DIR           kill -9, as a crash does
#   kafka.sh stop DIR           stop it; the data stays in DIR
#
# DIR is made if it is missing. A second start of a running broker prints its address again; a
# start after stop or kill keeps data and port. The jars named in pom.xml come through Maven
# once and stay in ${XDG_CACHE_HOME:-~/.cache}/cypherlink.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
  echo "kafka.sh: $*" >&2
  exit 1
}

usage() {
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# jars prints the folder of the broker's jars, after it has fetched them once.
jars() {
  local cache version lib
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/cypherlink
  version=$(sha256sum <"$here/pom.xml" | cut -c1-12)
  lib=$cache/kafka-$version
  if [[ ! -d $lib ]]; then
    command -v mvn >/dev/null || fail "Maven is not installed: run 'apt-get install maven' as root"
    echo "kafka.sh: fetching Apache Kafka through Maven" >&2
    mkdir -p "$cache"
    local new
    new=$(mktemp -d "$cache/kafka.XXXXXX")
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory="$new" >&2 || {
      rm -rf "$new"
      fail "Maven could not fetch Apache Kafka"
    }
    # another run may have been faster: its folder is as good
    mv -T "$new" "$lib" 2>/dev/null || rm -rf "$new"
  fi
  echo "$lib"
}

java_tool() {
  local lib=$1
  shift
  exec java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$lib/*" "$@"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 12000))
    if ! listening "$port"; then
      echo "$port"
      return
    fi
  done
  fail "no free port"
}

# gone tells whether the process has ended, reaped or not.
gone() { [[ ! -d /proc/$1 || $(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) == Z ]]; }

# running tells whether the process in broker.pid lives and is this folder's broker.
running() {
  local pid
  pid=$(cat "$1/broker.pid" 2>/dev/null) || return 1
  tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$1/server.properties"
}

configure() {
  local dir=$1 port=$2 controller=$3
  cat >"$dir/server.properties" <<EOF
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:$controller
log.dirs=$dir/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
EOF
}

# launch starts the broker and waits until it serves: the data port opens at the very end.
launch() {
  local dir=$1 lib=$2 port=$3
  local tries=60
  while listening "$port"; do # a killed broker's port takes a moment to close
    ((tries--)) || fail "port $port is taken"
    sleep 0.05
  done
  (java_tool "$lib" kafka.Kafka "$dir/server.properties") >"$dir/broker.log" 2>&1 </dev/null &
  echo $! >"$dir/broker.pid"
  until listening "$port"; do
    ! gone "$!" || return 1
    ((SECONDS < 90)) || return 1
    sleep 0.05
  done
}

start() {
  local dir=$1 port=${2:-0} lib
  command -v java >/dev/null || fail "Java is not installed: run 'apt-get install default-jre-headless' as root"
  lib=$(jars)
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  if running "$dir"; then
    cat "$dir/address"
    return
  fi
  ((port)) || [[ ! -f $dir/address ]] || port=$(cut -d: -f2 "$dir/address")
  local tries=1 chosen
  ((port)) || tries=5
  while ((tries--)); do
    chosen=$port
    ((chosen)) || chosen=$(free_port)
    configure "$dir" "$chosen" "$(free_port)"
    if [[ ! -f $dir/data/meta.properties ]]; then
      (java_tool "$lib" kafka.tools.StorageTool format --standalone -t 4L6g3nShT-eMCtK--X86sw \
        -c "$dir/server.properties") >"$dir/format.log" 2>&1 || fail "format: $(tail -3 "$dir/format.log")"
    fi
    if launch "$dir" "$lib" "$chosen"; then
      echo "127.0.0.1:$chosen" | tee "$dir/address"
      return
    fi
    end "$dir" KILL
  done
  fail "the broker does not start: $(tail -3 "$dir/broker.log")"
}

# end sends the signal and waits until the process is gone.
end() {
  local dir=$1 pid
  running "$dir" || return 0
  pid=$(cat "$dir/broker.pid")
  kill "-$2" "$pid"
  until gone "$pid"; do sleep 0.05; done
  rm -f "$dir/broker.pid"
}

stop() {
  local dir
  dir=$(cd "$1" 2>/dev/null && pwd) || return 0
  end "$dir" "$2"
}

case ${1-} in
start) (($# == 2 || $# == 3)) || usage && start "${@:2}" ;;
stop) (($# == 2)) || usage && stop "$2" TERM ;;
kill) (($# == 2)) || usage && stop "$2" KILL ;;
*) usage ;;
esac
