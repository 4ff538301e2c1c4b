#!/usr/bin/env python3
"""Tests that alerts reach people: a real Alertmanager, with the configuration that the app of apps renders for AWS, publishes to a
fake SNS.

  alerts.py RENDERED RULES…      the rendered app of apps, and the chart's files of rules

Raises every alert of the chart's rules, and alerts of the operators' rules that the routes treat differently. Then the same alerts are
raised against configurations with a planted mistake; each must lead to the finding that is named beside it.

All durations of the configuration are divided by HASTE, so that an hour of Alertmanager is three seconds here. Nothing else is changed.
"""
import collections
import concurrent.futures
import contextlib
import copy
import datetime
import http.server
import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import documents

TOPIC = "arn:aws:sns:eu-central-1:123456789012:tidemark-prod-alarms"
HASTE = 1200
START_SECONDS = 30
# The longest wait is for the repeated page. It takes three seconds on an idle machine.
PATIENCE_SECONDS = 60
PATIENCE_WITH_A_MISTAKE_SECONDS = 12
# The time limit, after a repeated page, for a ticket that is wrongly repeated as often.
GRACE_SECONDS = 2
AT_ONCE = 8
LEAST_ALERTS = 20
UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html: ASCII, no control characters, less than 100 characters.
SUBJECT = re.compile(r"[!-~][ -~]{0,98}")

Message = collections.namedtuple("Message", "subject text")


# --- The fake SNS


class Topic(http.server.ThreadingHTTPServer):
    """Stores the published messages, and the calls that SNS would refuse."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Publish)
        self.messages = []
        self.refused = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Alertmanager closes its connections when it ends; a message without an answer counts as delivered."""


class Publish(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        form = {key: values[0] for key, values in urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()}
        why = refusal(form, self.headers.get("Authorization", ""))
        if why:
            self.server.refused.append(why)
            self.answer(400, f"<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>{why}</Message></Error></ErrorResponse>")
        else:
            self.server.messages.append(Message(form["Subject"], form["Message"]))
            self.answer(200, "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        """Prints nothing: findings name what was refused."""


def refusal(form, authorization):
    """Returns the reason why SNS would refuse the call, or None."""
    if form.get("Action") != "Publish" or form.get("TopicArn") != TOPIC:
        return f"{form.get('Action')} to topic {form.get('TopicArn')}"
    region = TOPIC.split(":")[3]
    if "AWS4-HMAC-SHA256" not in authorization or f"/{region}/sns/" not in authorization:
        return f"the call is not signed for SNS in {region}"
    if not SUBJECT.fullmatch(form.get("Subject", "")):
        return f"subject of {len(form.get('Subject', ''))} characters: {form.get('Subject')!r}"
    return None if form.get("Message") else "a message without text"


# --- The alerts


def alert(name, severity, **labels):
    """Returns an alert of the operators."""
    summary = f"{name}, {severity}, of {' '.join(labels.values())}"
    return {"labels": {"alertname": name, "severity": severity, **labels}, "annotations": {"summary": summary, "description": "An operator's alert."}}


def of_the_chart(paths):
    """Returns every alert of the chart's rules, for one service. The templates of its annotations are not expanded."""
    rules = [rule for document in documents.read(*paths) for group in document["groups"] for rule in group["rules"] if "alert" in rule]
    around = {"job": "orders", "service": "orders", "namespace": "tidemark"}
    return [{"labels": {"alertname": rule["alert"], **around, **rule["labels"]}, "annotations": rule["annotations"]} for rule in rules]


# These hide others, so they are raised first.
HIDING = [alert("PodsCrash", "critical", namespace="tidemark"), alert("InfoInhibitor", "none", namespace="tidemark")]
HIDDEN = [alert("PodsCrash", "warning", namespace="tidemark"), alert("CPUThrottling", "info", namespace="tidemark")]
SILENT = [alert("Watchdog", "none", namespace="monitoring")]
NOT_HIDDEN = [
    alert("PodsCrash", "warning", namespace="argocd"),
    alert("CPUThrottling", "info", namespace="argocd"),
    alert("NodeNotReady", "warning", namespace="tidemark"),
    alert("AlertmanagerClusterFailedToSendAlertsToPeople", "critical", service="größter-name-eines-dienstes-der-in-keinem-betreff-platz-hat"),
]
TOGETHER = [alert("ReplicasMissing", "page", job="orders", instance=instance) for instance in ("10.0.0.1", "10.0.0.2")]
OF_TWO_JOBS = [alert("ReplicasMissing", "page", job="users", instance="10.0.0.3")]


# --- The configuration


def configuration(rendered):
    (monitoring,) = [d for d in documents.read(rendered) if d["kind"] == "Application" and d["metadata"]["name"] == "monitoring"]
    return monitoring["spec"]["source"]["helm"]["valuesObject"]["alertmanager"]["config"]


def hastened(config, topic):
    """Returns the configuration with its durations divided by HASTE and the fake SNS as its endpoint."""
    config = copy.deepcopy(config)
    routes = [config["route"]]
    for route in routes:
        routes.extend(route.get("routes", []))
        for setting in ("group_wait", "group_interval", "repeat_interval"):
            if setting in route:
                route[setting] = f"{max(1, round(seconds(route[setting]) * 1000 / HASTE))}ms"
    for receiver in config["receivers"]:
        for sns in receiver.get("sns_configs", []):
            sns["api_url"] = f"http://127.0.0.1:{topic.server_port}"
    return config


def seconds(duration):
    return sum(int(number) * UNIT_SECONDS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", duration))


# --- Alertmanager


class Alertmanager:
    """A running Alertmanager, which accepts alerts."""

    def __init__(self, port):
        self.alerts = f"http://127.0.0.1:{port}/api/v2/alerts"

    def raise_alerts(self, alerts):
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(self.alerts, json.dumps(alerts).encode(), headers), timeout=10).close()

    def answers(self):
        try:
            urllib.request.urlopen(self.alerts, timeout=5).close()
            return True
        except (urllib.error.URLError, ConnectionError):
            return False


class NotStarted(Exception):
    """Alertmanager ended, or did not answer."""


@contextlib.contextmanager
def alertmanager(config):
    with tempfile.TemporaryDirectory() as folder:
        path, port = pathlib.Path(folder, "alertmanager.yaml"), free_port()
        path.write_text(json.dumps(config))
        command = ["alertmanager", f"--config.file={path}", f"--storage.path={folder}/data", "--cluster.listen-address=",
                   f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        with open(f"{folder}/log", "w+") as log:
            process = subprocess.Popen(command, env=os.environ | keys, stdout=log, stderr=log)
            try:
                running = Alertmanager(port)
                if not wait_for(lambda: process.poll() is not None or running.answers(), START_SECONDS) or process.poll() is not None:
                    log.seek(0)
                    raise NotStarted(log.read())
                yield running
            finally:
                process.terminate()
                process.wait()


def free_port():
    """Returns a free port below those that systems give to connections, one of which could take it again."""
    while True:
        port = random.randrange(10000, 30000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def wait_for(condition, at_most):
    end = time.monotonic() + at_most
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


# --- The messages, and their faults


class Told:
    """The messages of one run, and the alerts in them."""

    def __init__(self, topic):
        self.topic = topic

    def of(self, *alerts, status="firing"):
        """Returns the messages that name all of these alerts."""
        texts = [f"{status}: {a['annotations']['summary']}\n{a['annotations']['description']}" for a in alerts]
        heads = {f"{status.upper()} {a['labels']['severity']} {a['labels']['alertname']}"[:99] for a in alerts}
        return [m for m in self.topic.messages if all(text in m.text for text in texts) and any(m.subject.startswith(head) for head in heads)]


def findings(config, chart, patience):
    """Returns the faults in the messages of an Alertmanager with this configuration."""
    topic = Topic()
    told = Told(topic)
    wanted = [*chart, HIDING[0], *NOT_HIDDEN, *TOGETHER, *OF_TWO_JOBS]
    page = next(a for a in chart if a["labels"]["severity"] == "page")
    ticket = next(a for a in chart if a["labels"]["severity"] == "ticket")
    try:
        with alertmanager(hastened(config, topic)) as running:
            end = time.monotonic() + patience
            left = lambda: end - time.monotonic()
            running.raise_alerts(HIDING)
            wait_for(lambda: told.of(HIDING[0]), min(5, left()))
            running.raise_alerts([*wanted, *HIDDEN, *SILENT])
            wait_for(lambda: all(told.of(a) for a in wanted) and told.of(*TOGETHER) and len(told.of(page)) > 1, left())
            wait_for(lambda: len(told.of(ticket)) > 1, GRACE_SECONDS)
            over = datetime.datetime.now(datetime.timezone.utc).isoformat()
            running.raise_alerts([{**a, "endsAt": over} for a in (page, ticket)])
            wait_for(lambda: told.of(page, status="resolved") and told.of(ticket, status="resolved"), max(3, left()))
    except NotStarted as error:
        return [f"Alertmanager does not start: {str(error)[-300:]}"]
    finally:
        topic.shutdown()
        topic.server_close()
    return list(wrong(told, wanted, page, ticket))


def wrong(told, wanted, page, ticket):
    yield from (f"SNS refuses a message: {why}" for why in sorted(set(told.topic.refused)))
    yield from (f"nobody is told of {name(a)}" for a in wanted if not told.of(a))
    yield from (f"people are told of {name(a)}" for a in HIDDEN + SILENT if any(a["annotations"]["summary"] in m.text for m in told.topic.messages))
    if not told.of(*TOGETHER):
        yield f"{name(TOGETHER[0])} is told by instance, not once for its job"
    if told.of(TOGETHER[0], *OF_TWO_JOBS):
        yield f"{name(TOGETHER[0])} of two jobs is told in one message"
    if len(told.of(page)) < 2:
        yield f"{name(page)} is not repeated within an hour"
    if len(told.of(ticket)) > 1:
        yield f"{name(ticket)} is repeated within an hour"
    yield from (f"nobody is told of the end of {name(a)}" for a in (page, ticket) if not told.of(a, status="resolved"))


def name(one):
    labels = one["labels"]
    return f"{labels['alertname']} ({labels['severity']}, {labels.get('namespace') or labels.get('job') or labels.get('service')})"


# --- Planted mistakes


def people(config):
    return config["receivers"][0]["sns_configs"][0]


# What is wrong: the change, and the finding that it must lead to.
MISTAKES = {
    "tickets go to nobody": (lambda c: c["route"].update(receiver="nobody"), r"nobody is told of \w+ \(ticket"),
    "pages go to nobody": (lambda c: c["route"]["routes"][1].update(receiver="nobody"), r"nobody is told of \w+ \(page"),
    "the Watchdog goes to people": (lambda c: c["route"]["routes"].pop(0), "people are told of Watchdog"),
    "a matcher that no page meets": (lambda c: c["route"]["routes"][1].update(matchers=['severity = "pages"']), "not repeated within an hour"),
    "tickets as often as pages": (lambda c: c["route"].update(repeat_interval="1h"), r"\(ticket.* is repeated within an hour"),
    "the receiver is missing": (lambda c: c["receivers"].pop(0), "does not start"),
    "the receiver has no topic": (lambda c: people(c).update(topic_arn=""), "does not start"),
    "the receiver tells nobody": (lambda c: c["receivers"][0].pop("sns_configs"), "nobody is told of"),
    "another topic": (lambda c: people(c).update(topic_arn=f"{TOPIC}-2"), "SNS refuses a message: Publish to topic"),
    "another region": (lambda c: people(c)["sigv4"].update(region="us-east-1"), "SNS refuses a message: the call is not signed"),
    "a subject of any length": (lambda c: people(c).update(subject="{{ .CommonLabels.alertname }} {{ .CommonLabels.service }} {{ .CommonLabels.service }}"), "SNS refuses a message: subject"),
    "a message without the summary": (lambda c: people(c).update(message="{{ .CommonLabels.alertname }}"), "nobody is told of"),
    "nobody hears of an end": (lambda c: people(c).update(send_resolved=False), "nobody is told of the end"),
    "every instance alone": (lambda c: c["route"].update(group_by=["..."]), "is told by instance"),
    "all jobs together": (lambda c: c["route"].update(group_by=["alertname"]), "of two jobs is told in one message"),
    "nothing hides anything": (lambda c: c.pop("inhibit_rules"), r"people are told of PodsCrash \(warning, tidemark"),
    "info is not hidden": (lambda c: c["inhibit_rules"].pop(2), r"people are told of CPUThrottling \(info, tidemark"),
    "hidden in every namespace": (lambda c: c["inhibit_rules"][0].update(equal=["alertname"]), r"nobody is told of PodsCrash \(warning, argocd"),
    "every page hides every ticket": (
        lambda c: c["inhibit_rules"].append({"source_matchers": ['severity = "page"'], "target_matchers": ['severity = "ticket"']}),
        r"nobody is told of \w+ \(ticket",
    ),
}


def is_noticed(config, what, chart):
    change, finding = MISTAKES[what]
    mistaken = copy.deepcopy(config)
    change(mistaken)
    found = findings(mistaken, chart, PATIENCE_WITH_A_MISTAKE_SECONDS)
    return any(re.search(finding, one) for one in found), found


def main():
    config, chart = configuration(sys.argv[1]), of_the_chart(sys.argv[2:])
    if len(chart) < LEAST_ALERTS:
        sys.exit(f"only {len(chart)} alerts in {sys.argv[2:]}")
    found = findings(config, chart, PATIENCE_SECONDS)
    failures = len(found)
    print("\n".join(found) or f"people are told of {len(chart)} alerts of the chart as they should be")
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        for what, (noticed, found) in zip(MISTAKES, threads.map(lambda what: is_noticed(config, what, chart), MISTAKES)):
            failures += not noticed
            print(f"  {'noticed' if noticed else 'MISSED'}: {what}" + ("" if noticed else f" (found: {found})"))
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
