"""Prints the arguments of google_dataproc_job in a state of terraform test, for another YARN, with NUL after each.

    python arguments.py JAR NAME=VALUE… < linked.json
"""

import json
import sys

jar, *further = sys.argv[1:]
for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "test_state" and message.get("@testrun") == "on_dataproc":
        resources = message["test_state"]["root_module"]["resources"]
(job,) = (resource for resource in resources if resource["type"] == "google_dataproc_job")
arguments = job["values"]["hadoop_config"][0]["args"]
arguments[arguments.index("-jar") + 1] = jar
for setting in further:
    arguments += ["-shell_env", setting]
sys.stdout.write("".join(f"{argument}\0" for argument in arguments))
