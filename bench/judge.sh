#!/bin/sh
# What judging one notification costs (make bench-judge): bench/judge.c, and python3-jsonschema with the
# schema of the differential test on a message of the same size.
#
#   bench/judge.sh BUILD/bench/judge
#
# Exit status 0: no allocation, nothing refused, at most a fifth of jansson's parse.
set -eu
cd "$(dirname "$0")/.."
"$1" && status=0 || status=$?
/usr/bin/python3 - <<'PY'
import json
import sys
import time

sys.path.insert(0, "tests/e2e")
from differential import schema
from harness import notifications

document = notifications.document("ca-eccc-msc")
payload = notifications.encode(document)
assert schema.is_valid(document)
times = []
for _ in range(30):
    begin = time.process_time_ns()
    for _ in range(20):
        schema.is_valid(json.loads(payload))
    times.append((time.process_time_ns() - begin) / 20)
print(json.dumps({"message_bytes": len(payload), "jsonschema_ns": round(sorted(times)[15])}))
PY
exit $status
