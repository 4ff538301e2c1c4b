# Sourced by the tests on YARN: a real one on this machine, with one ResourceManager and two NodeManagers on the loopback interface.
# Needs `here`, `work`, `started` and `tools`; `HADOOP` is the version. Every command ends within a limit,
# which `PATIENCE` multiplies.

version=${HADOOP:-3.4.2}
patience=${PATIENCE:-1}
hadoop=${tools%/python}/hadoop-$version/lib
nodes=() # the processes of the NodeManagers, by number from 1

find_hadoop() { # fetches the jars once
  [ -e "$hadoop/../ready" ] && return
  # The shell of some versions names a parent that Maven Central does not have, so it is copied by itself.
  timeout 900 mvn -q -B -f "$here/yarn/pom.xml" dependency:copy-dependencies "-Dhadoop=$version" "-DoutputDirectory=$hadoop" >"$work/maven.log" 2>&1 &&
    timeout 300 mvn -q -B dependency:copy "-Dartifact=org.apache.hadoop:hadoop-yarn-applications-distributedshell:$version" "-DoutputDirectory=$hadoop" >>"$work/maven.log" 2>&1 && touch "$hadoop/../ready"
}

free_ports() { python3 "$here/ports.py" "$1"; }

property() { printf '<property><name>%s</name><value>%s</value></property>' "$1" "$2"; }

configure() { # name, further properties…: writes a configuration folder
  local folder=$work/$1
  shift
  mkdir -p "$folder"
  { echo '<configuration>'; property fs.defaultFS file:///; property hadoop.tmp.dir "$work/tmp"; echo '</configuration>'; } >"$folder/core-site.xml"
  { echo '<configuration>'; property yarn.scheduler.capacity.root.queues default; property yarn.scheduler.capacity.root.default.capacity 100
    property yarn.scheduler.capacity.maximum-am-resource-percent 1.0
    # As in compute.tf: the containers of a job are spread over the nodes.
    property yarn.scheduler.capacity.per-node-heartbeat.multiple-assignments-enabled false; echo '</configuration>'; } >"$folder/capacity-scheduler.xml"
  {
    echo '<configuration>'
    property yarn.resourcemanager.hostname 127.0.0.1
    property yarn.resourcemanager.bind-host 127.0.0.1
    property yarn.resourcemanager.address "127.0.0.1:${ports[0]}"
    property yarn.resourcemanager.scheduler.address "127.0.0.1:${ports[1]}"
    property yarn.resourcemanager.resource-tracker.address "127.0.0.1:${ports[2]}"
    property yarn.resourcemanager.admin.address "127.0.0.1:${ports[3]}"
    property yarn.resourcemanager.webapp.address "127.0.0.1:${ports[4]}"
    property yarn.resourcemanager.nodemanagers.heartbeat-interval-ms 200
    property yarn.scheduler.include-port-in-node-name true
    # A lost node is noticed within seconds in place of ten minutes.
    property yarn.nm.liveness-monitor.expiry-interval-ms $((5000 * patience))
    property yarn.application.classpath "$work/client,$hadoop/*"
    while (($# > 1)); do property "$1" "$2"; shift 2; done
    echo '</configuration>'
  } >"$folder/yarn-site.xml"
}

java_with() { # configuration, heap, arguments…
  local configuration=$1 heap=$2
  shift 2
  # The application gets a working folder of its own, because YARN removes files with the localized names from it.
  mkdir -p "$work/in-$configuration"
  cd "$work/in-$configuration" || return 1
  JAVA_TOOL_OPTIONS="-Duser.home=$work" HADOOP_CONF_DIR=$work/client HADOOP_HOME=$work HADOOP_COMMON_HOME=$work exec ${limit:+timeout "$limit"} java --add-opens java.base/java.lang=ALL-UNNAMED "-Xmx$heap" -cp "$work/$configuration:$hadoop/*" "$@"
}

start_yarn() {
  read -ra ports <<<"$(free_ports 13)"
  configure client
  configure manager
  (java_with manager 256m org.apache.hadoop.yarn.server.resourcemanager.ResourceManager) >"$work/manager.log" 2>&1 &
  started+=($!)
  local node
  for node in 1 2; do
    configure "node$node" yarn.nodemanager.hostname 127.0.0.1 yarn.nodemanager.bind-host 127.0.0.1 \
      yarn.nodemanager.address "127.0.0.1:${ports[4 + node]}" yarn.nodemanager.localizer.address "127.0.0.1:${ports[6 + node]}" \
      yarn.nodemanager.webapp.address "127.0.0.1:${ports[8 + node]}" yarn.nodemanager.collector-service.address "127.0.0.1:${ports[10 + node]}" \
      yarn.nodemanager.local-dirs "$work/node$node-local" yarn.nodemanager.log-dirs "$work/node$node-logs" \
      yarn.nodemanager.resource.memory-mb 4096 yarn.nodemanager.resource.cpu-vcores 4 yarn.nodemanager.vmem-check-enabled false \
      yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage 99 \
      yarn.nodemanager.delete.debug-delay-sec 600
    start_node "$node"
  done
  await_nodes 2
}

start_node() { # number
  (java_with "node$1" 192m org.apache.hadoop.yarn.server.nodemanager.NodeManager) >>"$work/node$1.log" 2>&1 &
  nodes[$1]=$!
  started+=($!)
}

await_nodes() { # number of active nodes
  local deadline=$((SECONDS + 90 * patience))
  until curl -s --max-time 5 "http://127.0.0.1:${ports[4]}/ws/v1/cluster/metrics" | grep -q "\"activeNodes\":$1,"; do
    if ((SECONDS > deadline)); then
      tail -n 20 "$work"/*.log
      return 1
    fi
    sleep 0.25
  done
}

yarn() { # arguments…: Hadoop's own command
  (limit=$((60 * patience)) java_with client 192m org.apache.hadoop.yarn.client.cli.ApplicationCLI "$@" 2>/dev/null)
}

column() { # beginning, field…: prints the fields of the lines that begin so
  awk -v beginning="^$1" -v field="${2:-1}" '$1 ~ beginning { print $field }'
}
