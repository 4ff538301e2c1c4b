"""AWS on this machine: moto's server, and the calls of this configuration that moto 5.2 does not have.

    python emulation.py -H 127.0.0.1 -p PORT

The added calls store their arguments and return them; they have no logic.
"""

import json
import sys
from urllib.parse import unquote

import moto.eks.urls
import moto.kafka.urls
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.responses import EmptyResult
from moto.ec2.models import ec2_backends
from moto.ec2.responses.route_tables import RouteTables
from moto.eks.models import EKSBackend
from moto.eks.responses import EKSResponse
from moto.kafka.exceptions import BadRequestException, NotFoundException
from moto.kafka.models import FakeKafkaCluster, KafkaBackend
from moto.kafka.responses import KafkaResponse
from moto.server import main

MADE_AT = "2026-01-01T00:00:00.000Z"


def added_to(response, **calls):
    """Adds further calls to a moto service, by their names in the API."""
    for name, call in calls.items():
        setattr(response, name, call)


def after(request, word):
    """Returns the part after /word/ in the request's path."""
    return unquote(request.parsed_url.path.split(f"/{word}/")[-1])


def body(request):
    return json.loads(request.body or "{}")


# --- MSK: clusters are active at once and gone when deleted, and have brokers, configurations and passwords

make_cluster = FakeKafkaCluster.__init__


def make_active_cluster(cluster, *args, **settings):
    make_cluster(cluster, *args, **settings)
    cluster.state = "ACTIVE"


FakeKafkaCluster.__init__ = make_active_cluster


def of_known_clusters(describe):
    def answer(backend, cluster_arn):
        if cluster_arn not in backend.clusters:
            raise NotFoundException(f"no cluster {cluster_arn}")
        return describe(backend, cluster_arn)

    return answer


KafkaBackend.describe_cluster = of_known_clusters(KafkaBackend.describe_cluster)
KafkaBackend.describe_cluster_v2 = of_known_clusters(KafkaBackend.describe_cluster_v2)

configurations = {}
passwords = {}


def brokers(_request):
    host = "b-1.emulated.abc123.c2.kafka.eu-central-1.amazonaws.com"
    return json.dumps({"bootstrapBrokerStringSaslScram": f"{host}:9096", "bootstrapBrokerStringSaslIam": f"{host}:9098"})


def configuration(arn):
    if arn not in configurations:
        raise BadRequestException("Configuration ARN does not exist")  # the provider recognizes the error by these words
    return configurations[arn]


def described(made):
    return {
        **{key: made[key] for key in ("arn", "name", "description", "kafkaVersions")},
        "state": "ACTIVE",
        "creationTime": MADE_AT,
        "latestRevision": {"revision": 1, "creationTime": MADE_AT},
    }


def create_configuration(request):
    asked = body(request)
    arn = f"arn:aws:kafka:{request.region}:{request.current_account}:configuration/{asked['name']}/0000-1"
    configurations[arn] = {"arn": arn, "description": "", "kafkaVersions": [], **asked}
    return json.dumps(described(configurations[arn]))


def describe_configuration(request):
    return json.dumps(described(configuration(after(request, "configurations"))))


def describe_configuration_revision(request):
    arn, revision = after(request, "configurations").split("/revisions/")
    told = {key: configuration(arn)[key] for key in ("description", "serverProperties")}
    return json.dumps({"arn": arn, "revision": int(revision), "creationTime": MADE_AT, **told})


def delete_configuration(request):
    arn = after(request, "configurations")
    configurations.pop(arn)
    return json.dumps({"arn": arn, "state": "DELETING"})


def cluster_of(request):
    return after(request, "clusters").removesuffix("/scram-secrets")


def batch_associate_scram_secret(request):
    passwords.setdefault(cluster_of(request), set()).update(body(request)["secretArnList"])
    return json.dumps({"clusterArn": cluster_of(request), "unprocessedScramSecrets": []})


def batch_disassociate_scram_secret(request):
    passwords.get(cluster_of(request), set()).difference_update(body(request)["secretArnList"])
    return json.dumps({"clusterArn": cluster_of(request), "unprocessedScramSecrets": []})


def list_scram_secrets(request):
    return json.dumps({"secretArnList": sorted(passwords.get(cluster_of(request), set()))})


added_to(
    KafkaResponse,
    get_bootstrap_brokers=brokers,
    create_configuration=create_configuration,
    describe_configuration=describe_configuration,
    describe_configuration_revision=describe_configuration_revision,
    delete_configuration=delete_configuration,
    batch_associate_scram_secret=batch_associate_scram_secret,
    batch_disassociate_scram_secret=batch_disassociate_scram_secret,
    list_scram_secrets=list_scram_secrets,
)
# The first matching pattern is used, and moto's own match everything below a cluster.
moto.kafka.urls.url_paths = {
    "{0}/v1/clusters/(?P<clusterArn>[^/]+)/bootstrap-brokers$": KafkaResponse.dispatch,
    "{0}/v1/clusters/(?P<clusterArn>[^/]+)/scram-secrets$": KafkaResponse.dispatch,
    "{0}/v1/configurations$": KafkaResponse.dispatch,
    "{0}/v1/configurations/(?P<arn>.+)$": KafkaResponse.dispatch,
    "{0}/v1/configurations/(?P<arn>.+)/revisions/(?P<revision>[^/]+)$": KafkaResponse.dispatch,
    **moto.kafka.urls.url_paths,
}

# --- EKS: a cluster's own security group, settings that moto drops, add-ons and Pod Identity

make_eks_cluster = EKSBackend.create_cluster


def make_eks_cluster_with_group(backend, name, *, resources_vpc_config, **settings):
    ec2 = ec2_backends[backend.account_id][backend.region_name]
    vpc = ec2.get_subnet(resources_vpc_config["subnetIds"][0]).vpc_id
    group = ec2.create_security_group(f"eks-cluster-sg-{name}", "made by EKS", vpc_id=vpc)
    network = {**resources_vpc_config, "clusterSecurityGroupId": group.id, "vpcId": vpc}
    return make_eks_cluster(backend, name, resources_vpc_config=network, **settings)


EKSBackend.create_cluster = make_eks_cluster_with_group

addons = {}
associations = {}


def cluster_named(request):
    return after(request, "clusters").split("/")[0]


def create_addon(request):
    asked = body(request)
    cluster, name = cluster_named(request), asked["addonName"]
    addons[cluster, name] = {
        **asked,
        "clusterName": cluster,
        "status": "ACTIVE",
        "addonVersion": asked.get("addonVersion", "v1.0.0-eksbuild.1"),
        "addonArn": f"arn:aws:eks:{request.region}:{request.current_account}:addon/{cluster}/{name}/0000",
        "createdAt": 1767225600,
        "modifiedAt": 1767225600,
        "health": {"issues": []},
    }
    return json.dumps({"addon": addons[cluster, name]})


def addon(change):
    def answer(request):
        key = cluster_named(request), after(request, "addons")
        if key not in addons:
            return 404, {"x-amzn-ErrorType": "ResourceNotFoundException"}, json.dumps({"message": "no such add-on"})
        return json.dumps({"addon": change(addons, key)})

    return answer


def create_pod_identity_association(request):
    asked = body(request)
    cluster = cluster_named(request)
    number = f"a-{len(associations):017d}"
    associations[number] = {
        **asked,
        "clusterName": cluster,
        "associationId": number,
        "associationArn": f"arn:aws:eks:{request.region}:{request.current_account}:podidentityassociation/{cluster}/{number}",
        "createdAt": 1767225600,
        "modifiedAt": 1767225600,
    }
    return json.dumps({"association": associations[number]})


def association(change):
    def answer(request):
        number = after(request, "pod-identity-associations")
        if number not in associations:
            return 404, {"x-amzn-ErrorType": "ResourceNotFoundException"}, json.dumps({"message": "no such association"})
        return json.dumps({"association": change(associations, number)})

    return answer


entries = {}
access = {}


def entry_of(request):
    """Returns the cluster and the principal of an access entry's address."""
    return cluster_named(request), after(request, "access-entries").split("/access-policies")[0]


def create_access_entry(request):
    asked = body(request)
    cluster, principal = cluster_named(request), asked["principalArn"]
    entries[cluster, principal] = {
        "kubernetesGroups": [],
        "type": "STANDARD",
        "username": principal,
        **asked,
        "clusterName": cluster,
        "accessEntryArn": f"arn:aws:eks:{request.region}:{request.current_account}:access-entry/{cluster}/role/0000",
        "createdAt": 1767225600,
        "modifiedAt": 1767225600,
    }
    return json.dumps({"accessEntry": entries[cluster, principal]})


def access_entry(change):
    def answer(request):
        if entry_of(request) not in entries:
            return 404, {"x-amzn-ErrorType": "ResourceNotFoundException"}, json.dumps({"message": "no such access entry"})
        return json.dumps({"accessEntry": change(entries, entry_of(request))})

    return answer


def associate_access_policy(request):
    made = {**body(request), "associatedAt": 1767225600, "modifiedAt": 1767225600}
    access.setdefault(entry_of(request), {})[made["policyArn"]] = made
    return json.dumps({"clusterName": entry_of(request)[0], "principalArn": entry_of(request)[1], "associatedAccessPolicy": made})


def list_associated_access_policies(request):
    return json.dumps({"associatedAccessPolicies": list(access.get(entry_of(request), {}).values())})


def disassociate_access_policy(request):
    access[entry_of(request)].pop(after(request, "access-policies"))
    return "{}"


answer_cluster = EKSResponse.create_cluster
answer_nodegroup = EKSResponse.create_nodegroup


def create_cluster(request):
    answer = answer_cluster(request)
    cluster = request.eks_backend.clusters[request._get_param("name")]
    cluster.access_config = request._get_param("accessConfig")
    cluster.upgrade_policy = request._get_param("upgradePolicy")
    return answer


def create_nodegroup(request):
    answer = answer_nodegroup(request)
    group = request.eks_backend.clusters[request._get_param("name")].nodegroups[request._get_param("nodegroupName")]
    group.remote_access = request._get_param("remoteAccess")
    group.node_repair_config = request._get_param("nodeRepairConfig")
    group.update_config = request._get_param("updateConfig")
    return answer


added_to(
    EKSResponse,
    create_cluster=create_cluster,
    create_nodegroup=create_nodegroup,
    create_access_entry=create_access_entry,
    describe_access_entry=access_entry(dict.get),
    delete_access_entry=access_entry(dict.pop),
    associate_access_policy=associate_access_policy,
    list_associated_access_policies=list_associated_access_policies,
    disassociate_access_policy=disassociate_access_policy,
    create_addon=create_addon,
    describe_addon=addon(dict.get),
    delete_addon=addon(dict.pop),
    create_pod_identity_association=create_pod_identity_association,
    describe_pod_identity_association=association(dict.get),
    delete_pod_identity_association=association(dict.pop),
)
moto.eks.urls.url_paths = {
    "{0}/clusters/(?P<name>[^/]+)/access-entries$": moto.eks.urls.response.dispatch,
    "{0}/clusters/(?P<name>[^/]+)/access-entries/(?P<principalArn>.+)/access-policies$": moto.eks.urls.response.dispatch,
    "{0}/clusters/(?P<name>[^/]+)/access-entries/(?P<principalArn>.+)/access-policies/(?P<policyArn>.+)$": moto.eks.urls.response.dispatch,
    "{0}/clusters/(?P<name>[^/]+)/access-entries/(?P<principalArn>.+)$": moto.eks.urls.response.dispatch,
    "{0}/clusters/(?P<name>[^/]+)/addons$": moto.eks.urls.response.dispatch,
    "{0}/clusters/(?P<name>[^/]+)/addons/(?P<addonName>[^/]+)$": moto.eks.urls.response.dispatch,
    "{0}/clusters/(?P<name>[^/]+)/pod-identity-associations$": moto.eks.urls.response.dispatch,
    "{0}/clusters/(?P<name>[^/]+)/pod-identity-associations/(?P<associationId>[^/]+)$": moto.eks.urls.response.dispatch,
    **moto.eks.urls.url_paths,
}

# --- VPC: routes learned by BGP; autoscaling: tags


def propagation(change):
    def answer(request):
        table = request.ec2_backend.get_route_table(request._get_param("RouteTableId"))
        gateway = {"GatewayId": request._get_param("GatewayId")}
        table.propagating_vgws = change([vgw for vgw in getattr(table, "propagating_vgws", []) if vgw != gateway], gateway)
        return EmptyResult()

    return answer


added_to(
    RouteTables,
    enable_vgw_route_propagation=propagation(lambda others, gateway: [*others, gateway]),
    disable_vgw_route_propagation=propagation(lambda others, _gateway: others),
)
added_to(ApplicationAutoScalingResponse, list_tags_for_resource=lambda _request: json.dumps({"Tags": {}}))

if __name__ == "__main__":
    main(sys.argv[1:])
