"""AWS on this machine, as the controllers of a cluster find it: moto with the network, keys, secrets and the certificate of a state,
where each call is allowed or refused by the policies of the state.

    python judged.py --aws STATE --filled FILLED --log LOG -p PORT

STATE is the state that edges.py reads. FILLED is written: the same state with the ids of the emulation. LOG gets a line for each
judged call. A controller gets its credentials as a pod gets them from the agent of Pod Identity: at /credentials, where its token
is its namespace and service account.
"""

import argparse
import io
import json
import os
import threading
import time
import urllib.request
from pathlib import Path

os.environ.setdefault("AWS_ACCESS_KEY_ID", "furnisher")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "of-the-emulation")
os.environ["MOTO_ACM_VALIDATION_WAIT"] = "0"  # a certificate is issued at once, because the state validates it

import boto3  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402
from werkzeug.serving import run_simple  # noqa: E402

import aws_calls  # noqa: E402
import iam  # noqa: E402
from rights import FIELDS, FIELDS_GIVEN, key_lets, role_of  # noqa: E402
from rules import Resources, read_lines  # noqa: E402

REGION = aws_calls.REGION


class Emulation:
    """The emulated account: creates in it what the state has, and looks facts up."""

    def __init__(self, port):
        settings = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": REGION}
        self.ec2, self.balancing = boto3.client("ec2", **settings), boto3.client("elbv2", **settings)
        self.secrets, self.acm = boto3.client("secretsmanager", **settings), boto3.client("acm", **settings)
        self.ids, self.keys, self.network = {}, {}, None

    def furnish(self, platform):
        """Creates the network, the certificate and the secrets. Their ids replace those of the mocked state in `ids`."""
        vpc = platform.by_address["aws_vpc.this"]
        made = self.ec2.create_vpc(CidrBlock=vpc["cidr_block"])["Vpc"]["VpcId"]
        self.network = f"arn:aws:ec2:{REGION}:{aws_calls.ACCOUNT}:vpc/{made}"
        self.ids[vpc["arn"]], self.ids[vpc["id"]] = self.network, made
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=made)
        for _, subnet in platform.aws.of("aws_subnet"):
            tags = [{"Key": key, "Value": value} for key, value in subnet["tags"].items()]
            self.ec2.create_subnet(VpcId=made, CidrBlock=subnet["cidr_block"], AvailabilityZone=subnet["availability_zone"],
                                   TagSpecifications=[{"ResourceType": "subnet", "Tags": tags}])
        validated = {validation["certificate_arn"] for _, validation in platform.aws.of("aws_acm_certificate_validation")}
        for _, certificate in platform.aws.of("aws_acm_certificate"):
            if certificate["arn"] in validated:
                arn = self.acm.request_certificate(DomainName=certificate["domain_name"], ValidationMethod="DNS")["CertificateArn"]
                self.acm.describe_certificate(CertificateArn=arn)
        for address, secret in platform.aws.of("aws_secretsmanager_secret"):
            fields = FIELDS.get(address.split("[")[0]) or FIELDS_GIVEN.get(address.split('"')[1], {"value"})
            self.keep(secret["name"], secret["arn"], secret["kms_key_id"], fields)
        database = platform.by_address["aws_db_instance.this"]
        master = database["master_user_secret"][0]["secret_arn"]
        self.keep("rds-master", master, database["master_user_secret_kms_key_id"], {"username", "password"})

    def keep(self, name, arn, key, fields):
        """Creates a secret, each field with a value that names the secret and the field."""
        text = json.dumps({field: f"{name}:{field}" for field in fields})
        made = self.secrets.create_secret(Name=name, SecretString=text)["ARN"]
        self.ids[arn], self.keys[made] = made, key

    def tags(self, arn):
        found = self.balancing.describe_tags(ResourceArns=[arn])["TagDescriptions"]
        return {tag["Key"]: tag["Value"] for each in found for tag in each["Tags"]}

    def group(self, number):
        (found,) = self.ec2.describe_security_groups(GroupIds=[number])["SecurityGroups"]
        arn = f"arn:aws:ec2:{REGION}:{aws_calls.ACCOUNT}:security-group/{number}"
        network = f"arn:aws:ec2:{REGION}:{aws_calls.ACCOUNT}:vpc/{found['VpcId']}"
        return arn, {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}, network

    def secret(self, number):
        """Returns the ARN, the key and the tags of a secret. One that does not exist gets the ARN that a policy could allow."""
        try:
            found = self.secrets.describe_secret(SecretId=number)
        except self.secrets.exceptions.ResourceNotFoundException:
            return f"arn:aws:secretsmanager:{REGION}:{aws_calls.ACCOUNT}:secret:{number}-missing", "no key", {}
        return found["ARN"], self.keys[found["ARN"]], {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}


class Judge:
    """Allows or refuses calls by the policies of the caller's role, and writes each to the log."""

    def __init__(self, emulation, log):
        self.emulation, self.log, self.platform = emulation, open(log, "a", buffering=1, encoding="utf-8"), None
        self.roles, self.lock = {}, threading.Lock()

    def credentials(self, token):
        """Returns what the agent of Pod Identity gives a pod of this service account, or None."""
        namespace, _, account = token.partition("/")
        role, obstacle = role_of(self.platform, namespace, account)
        if role is None:
            self.note({"role": token, "call": "pod identity", "refused": obstacle})
            return None
        self.roles.setdefault(role["name"], self.policies(role["name"]))
        return {"AccessKeyId": role["name"], "SecretAccessKey": "emulated", "Token": token, "Expiration": "2099-01-01T00:00:00Z"}

    def policies(self, role):
        return [p["policy"] for _, p in self.platform.aws.of("aws_iam_role_policy") if p["role"] == role]

    def plant(self, role, text, new):
        """Replaces a text in the policies of a role from now on; an empty text restores them. Returns True if this changed them."""
        changed = [policy.replace(text, new) if text else policy for policy in self.policies(role)]
        self.roles[role] = changed
        return changed != self.policies(role)

    def refusal(self, who, service, target, body):
        """Returns why a role may not make a call, or None."""
        try:
            call, rights = aws_calls.rights(service, target, body, self.emulation)
        except aws_calls.Unlisted as error:
            self.note({"role": who, "call": str(error), "refused": "the rights of this call are not listed in aws_calls.py"})
            return f"{error} is not listed"
        refused = [self.obstacle(who, *right) for right in rights]
        refused = [reason for reason in refused if reason]
        self.note({"role": who, "call": call, "rights": [right[0] for right in rights], "refused": "; ".join(refused) or None})
        return "; ".join(refused) or None

    def obstacle(self, who, action, resource, context):
        if not iam.allows(self.roles[who], action, resource, context):
            return f"role {who} may not {action} on {resource} with {json.dumps(context, sort_keys=True)}"
        if action.startswith("kms:"):
            address = next(a for a, key in self.platform.aws.of("aws_kms_key") if key["arn"] == resource)
            if not key_lets(self.platform, address, action):
                return f"the policy of {address} does not delegate {action}"
        return None

    def note(self, line):
        with self.lock:
            self.log.write(json.dumps(line) + "\n")


class Judged:
    """The WSGI application: moto behind the judge."""

    def __init__(self, judge):
        self.judge, self.moto = judge, DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] == "/credentials":
            found = self.judge.credentials(environ.get("HTTP_AUTHORIZATION", ""))
            start_response("200 OK" if found else "403 Forbidden", [("Content-Type", "application/json")])
            return [json.dumps(found or {"message": "no association"}).encode()]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if environ["PATH_INFO"] == "/planted":
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps({"changed": self.judge.plant(**json.loads(body))}).encode()]
        scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split(",")[0].split("/")
        if len(scope) != 5 or scope[0] == "furnisher":
            return self.moto(environ, start_response)
        target = environ.get("HTTP_X_AMZ_TARGET")
        reason = self.judge.refusal(scope[0], scope[3], target, body)
        return refuse(start_response, scope[3], target, reason) if reason else self.moto(environ, start_response)


def refuse(start_response, service, target, reason):
    """Answers as the service does when IAM refuses a call."""
    text = reason.replace("&", "&amp;").replace("<", "&lt;")
    if target:
        start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
        return [json.dumps({"__type": "AccessDeniedException", "message": reason}).encode()]
    start_response("403 Forbidden", [("Content-Type", "text/xml")])
    if service == "ec2":
        return [f"<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>{text}</Message></Error></Errors><RequestID>1</RequestID></Response>".encode()]
    return [f"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{text}</Message></Error><RequestId>1</RequestId></ErrorResponse>".encode()]


class State:
    """The resources of a state, as rights.py reads them."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as lines:
            self.outputs, self.aws = outputs_and_resources(lines)
        self.by_address = {resource["address"]: resource["values"] for resource in self.aws.all}


def outputs_and_resources(lines):
    found, resources = read_lines(lines, "distinct")
    return found["outputs"], Resources(resources)


def main():
    parser = argparse.ArgumentParser()
    for argument in ("--aws", "--filled", "--log"):
        parser.add_argument(argument, required=True)
    parser.add_argument("-p", type=int, required=True)
    told = parser.parse_args()
    emulation = Emulation(told.p)
    judge = Judge(emulation, told.log)
    server = threading.Thread(target=run_simple, args=("127.0.0.1", told.p, Judged(judge)), kwargs={"threaded": True}, daemon=True)
    server.start()
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{told.p}/moto-api/", timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    emulation.furnish(State(told.aws))
    text = Path(told.aws).read_text(encoding="utf-8")
    for mocked, real in sorted(emulation.ids.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(mocked, real)
    Path(told.filled).write_text(text, encoding="utf-8")
    judge.platform = State(told.filled)
    print("ready", flush=True)
    server.join()


if __name__ == "__main__":
    main()
