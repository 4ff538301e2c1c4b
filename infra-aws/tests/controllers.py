#!/usr/bin/env python3
"""Parts of controllers.sh.

  controllers.py manifests FILLED FOLDER         writes the shop's manifests and the operators' values, as Argo CD gets them
  controllers.py nodes FILLED PORT               gives each node an instance of the emulation, prints `node provider-id`
  controllers.py pods PORT                       gives the instances the addresses of the pods that run on them (standard input)
  controllers.py balancer prod|dev PORT          fails unless the load balancer is as the chart asks
  controllers.py secrets FOLDER                  fails unless the cluster's secrets (standard input) have the emulation's values
  controllers.py refused LOG                     prints each refused call once; fails if there is one, or if none was judged
  controllers.py plant PORT ROLE TEXT NEW        replaces a text in the policies of a role; without TEXT, restores them
"""

import json
import os
import pathlib
import sys
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "helm/tests"))
REGION = "eu-central-1"
MODERN_TLS = "ELBSecurityPolicy-TLS13-1-2-2021-06"


def client(service, port):
    import boto3

    os.environ.update(AWS_ACCESS_KEY_ID="furnisher", AWS_SECRET_ACCESS_KEY="of-the-emulation")
    return boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", region_name=REGION)


def platform_of(filled):
    from edges import Platform
    from rules import Resources, read_lines

    with open(filled, encoding="utf-8") as lines:
        found, resources = read_lines(lines, "distinct")
    return Platform("tidemark-" + os.environ["ENVIRONMENT"], (found["outputs"], Resources(resources)), None)


def manifests(filled, folder):
    platform, folder = platform_of(filled), pathlib.Path(folder)
    (folder / "shop.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": platform.shop}))
    for application in (d for d in platform.apps if d["kind"] == "Application"):
        values = application["spec"].get("source", {}).get("helm", {}).get("valuesObject")
        if values is not None:
            (folder / f"{application['metadata']['name']}.values.json").write_text(json.dumps(values))


def nodes(filled, port):
    """Creates an instance in a private subnet of each zone, in a security group that is the cluster's by its tag."""
    from judged import State
    from network import Vpc

    platform, ec2 = State(filled), client("ec2", port)
    vpc = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": [platform.by_address["aws_vpc.this"]["cidr_block"]]}])["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(GroupName="nodes", Description="nodes", VpcId=vpc)["GroupId"]
    ec2.create_tags(Resources=[group], Tags=[{"Key": f"kubernetes.io/cluster/tidemark-{os.environ['ENVIRONMENT']}", "Value": "owned"}])
    private = sorted(Vpc(platform.aws).subnets("private"), key=lambda subnet: subnet["availability_zone"])
    for node, subnet in zip("abc", private):
        made = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}, {"Name": "cidr-block", "Values": [subnet["cidr_block"]]}])["Subnets"][0]
        (instance,) = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, SubnetId=made["SubnetId"], SecurityGroupIds=[group])["Instances"]
        print(f"node-{node}", f"aws:///{subnet['availability_zone']}/{instance['InstanceId']}")


def pods(port):
    """Assigns the pods' addresses to the first interface of their node, as the VPC's network plugin does."""
    ec2 = client("ec2", port)
    for line in sys.stdin:
        instance, addresses = line.split()[0].rpartition("/")[2], line.split()[1:]
        found = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["NetworkInterfaces"][0]
        kept = {each["PrivateIpAddress"] for each in found["PrivateIpAddresses"]}
        new = [address for address in addresses if address not in kept]
        if new:
            ec2.assign_private_ip_addresses(NetworkInterfaceId=found["NetworkInterfaceId"], PrivateIpAddresses=new)


def balancer(environment, port):
    """Yields each difference between the only load balancer and what the chart asks for."""
    elb, ec2 = client("elbv2", port), client("ec2", port)
    balancers = elb.describe_load_balancers()["LoadBalancers"]
    if len(balancers) != 1:
        yield f"{len(balancers)} load balancers"
        return
    (made,) = balancers
    wanted = ("application", "internet-facing", "elb") if environment == "prod" else ("network", "internal", "internal-elb")
    subnets = ec2.describe_subnets(SubnetIds=[zone["SubnetId"] for zone in made["AvailabilityZones"]])["Subnets"]
    for subnet in subnets:
        if {"Key": f"kubernetes.io/role/{wanted[2]}", "Value": "1"} not in subnet["Tags"]:
            yield f"the load balancer is in {subnet['SubnetId']}, which is not for {wanted[2]}"
    if (made["Type"], made["Scheme"], len(subnets)) != (*wanted[:2], 3):
        yield f"a load balancer {made['Type']} {made['Scheme']} in {len(subnets)} subnets"
    listeners = elb.describe_listeners(LoadBalancerArn=made["LoadBalancerArn"])["Listeners"]
    told = [(each["Protocol"], each.get("SslPolicy"), len({certificate["CertificateArn"] for certificate in each.get("Certificates", [])})) for each in listeners]
    if environment == "prod" and told != [("HTTPS", MODERN_TLS, 1)]:
        yield f"listeners with protocol, TLS policy, certificates: {told}"
    groups = elb.describe_target_groups()["TargetGroups"]
    if [group["TargetType"] for group in groups] != ["ip"] or environment == "prod" and groups[0]["HealthCheckPath"] != "/health/ready":
        yield f"target groups {[(group['TargetType'], group.get('HealthCheckPath')) for group in groups]}"
    targets = sum(len(elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]) for group in groups)
    if targets < 1:
        yield "no pod is a target"


def secrets(folder):
    """Yields each secret of the shop that is missing or lacks the value of the emulation."""
    wanted = [d for d in json.loads(pathlib.Path(folder, "shop.json").read_text())["items"] if d["kind"] == "ExternalSecret"]
    kept = {each["metadata"]["name"]: each.get("data", {}) for each in json.load(sys.stdin)["items"]}
    if len(wanted) < 3:
        yield f"only {len(wanted)} external secrets"
    for secret in wanted:
        target = secret["spec"]["target"]
        missing = [variable for variable in target["template"]["data"] if not kept.get(target["name"], {}).get(variable)]
        if missing:
            yield f"secret {target['name']} lacks {', '.join(missing)}"


def refused(log):
    lines = [json.loads(line) for line in pathlib.Path(log).read_text().splitlines()]
    if len(lines) < 20:
        yield f"only {len(lines)} calls were judged"
    yield from sorted({line["refused"].partition(" with {")[0] for line in lines if line["refused"]})
    used = {right for line in lines for right in line.get("rights", [])}
    print(f"{len(lines)} calls judged; rights used: {', '.join(sorted(used))}", file=sys.stderr)


def plant(port, role, text="", new=""):
    body = json.dumps({"role": role, "text": text, "new": new}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/planted", data=body), timeout=10) as answer:
        if json.load(answer)["changed"] != bool(text):
            yield f"the policies of {role} do not have {text}"


def main():
    command, *arguments = sys.argv[1:]
    findings = {"manifests": manifests, "nodes": nodes, "pods": pods, "balancer": balancer, "secrets": secrets, "refused": refused, "plant": plant}[command](*arguments)
    findings = list(findings or [])
    print("\n".join(findings)) if findings else None
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
