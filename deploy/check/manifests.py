"""Whether the Kubernetes manifests are right: kustomize builds them, kubernetes-validate (of KEDA's resources: models made from KEDA's
own schema) knows every field, and what must hold for every container holds.

    manifests.py KUBERNETES_VALIDATE

Run by a Python that has PyYAML and cloudcoil-models-keda.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml
from cloudcoil.models.keda import v1alpha1

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("base", "overlays/gpu", "overlays/monitoring", "overlays/fleet", "overlays/fleet-scaled", "annotate", "archive", "queue")
# Of the Prometheus operator: nothing here has a schema of them.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}
# Of KEDA.
SCALED = {"ScaledObject", "ScaledJob"}
# Secrets that the folders ask for.
SECRETS = {
    "base": "STREAMDET_TOKEN=for-this-check-only",
    "overlays/fleet": "STREAMDET_FLEET=nats://for-this-check-only",
    "queue": "STREAMDET_QUEUE=nats://for-this-check-only/archive",
}
# The oldest version that podFailurePolicy is stable in, and the newest that kubernetes-validate knows.
VERSIONS = ("1.31", "1.37")


def fail(message):
    sys.exit(f"manifests: error: {message}")


def kustomize(folder):
    """What `kustomize build` says, by whichever of its two programs is here."""
    command = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    built = subprocess.run([*command, folder], capture_output=True, text=True)
    if built.returncode != 0:
        fail(f"{folder}: {built.stderr}")
    return list(yaml.safe_load_all(built.stdout))


def built(scratch):
    """All that kustomize builds, by folder."""
    shutil.copytree(DEPLOY / "kubernetes", scratch / "kubernetes")
    for folder, secret in SECRETS.items():
        (scratch / "kubernetes" / folder / "secret.env").write_text(f"{secret}\n")
    return {folder: kustomize(scratch / "kubernetes" / folder) for folder in FOLDERS}


def only(resources, kind):
    """The one resource of a kind."""
    return next(resource for resource in resources if resource["kind"] == kind)


def known_to_keda(folder, resource):
    """Every field is one of KEDA's. Its models pass over what they do not know: what comes back lacks it then."""
    if resource["kind"] == "ScaledJob":
        # Kubernetes' own, and looked at as such.
        job = resource["spec"]["jobTargetRef"] | {"template": {"spec": {"containers": []}}}
        resource = resource | {"spec": resource["spec"] | {"jobTargetRef": job}}
    try:
        read = getattr(v1alpha1, resource["kind"]).model_validate(resource)
    except ValueError as error:
        fail(f"{folder}: {resource['kind']}: {error}")
    return read.model_dump(mode="json", by_alias=True, exclude_unset=True) == resource


def job_of(scaled):
    """A job that KEDA makes."""
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": scaled["metadata"]["name"]}, "spec": scaled["spec"]["jobTargetRef"]}


def must_hold(folder, resource):
    """What keeps a pod from harm and from doing any."""
    pod = resource["spec"]["template"]["spec"]
    security = pod["securityContext"]
    wanted = [
        (pod.get("automountServiceAccountToken") is False, "it has a service account's token"),
        (pod.get("enableServiceLinks") is False, "STREAMDET_… of other services are in its environment"),
        (security.get("runAsNonRoot") is True and security.get("runAsUser", 0) > 0, "it may run as root"),
        (security.get("seccompProfile") == {"type": "RuntimeDefault"}, "no seccomp profile"),
    ]
    for container in pod["containers"]:
        inside = container["securityContext"]
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        wanted += [
            (inside.get("readOnlyRootFilesystem") is True, "its root can be written to"),
            (inside.get("allowPrivilegeEscalation") is False, "privileges can be gained"),
            (inside.get("capabilities") == {"drop": ["ALL"]}, "it has capabilities"),
            ({"/tmp", "/var/cache/streamdet"} <= mounts, "there is no place for what is compiled, or no /tmp"),
            ("memory" in container["resources"]["limits"], "it may take all memory"),
            ("cpu" not in container["resources"]["limits"], "its CPU time is throttled"),
            ({mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}, "a volume is not used"),
        ]
        if resource["kind"] == "Deployment":
            wanted += [(probe in container, f"it has no {probe}") for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
            # --grace is 30 s by default.
            wanted += [(pod["terminationGracePeriodSeconds"] > 30, "it is killed while outputs are finished")]
    for holds, otherwise in wanted:
        if not holds:
            fail(f"{folder}: {resource['kind']} {resource['metadata']['name']}: {otherwise}")


def fleet_holds(resources, scaled):
    """What the parts of a fleet take of each other to be so."""
    deployment, policy, budget = (only(resources, kind) for kind in ("Deployment", "NetworkPolicy", "PodDisruptionBudget"))
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    env = {variable["name"]: variable for variable in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    for holds, otherwise in [
        (scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"], "KEDA scales another deployment"),
        ("replicas" not in deployment["spec"], "every apply undoes what KEDA did"),
        (int(scaled["spec"]["triggers"][0]["metadata"]["threshold"]) < int(env["STREAMDET_CAPACITY"]["value"]), "there is no room for the streams of a pod that is gone"),
        (env["STREAMDET_INSTANCE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name", "instances are not called as their pods are"),
        (budget["spec"]["selector"]["matchLabels"] == labels, "the disruption budget is of other pods"),
        (policy["spec"]["podSelector"]["matchLabels"] == labels, "the network policy is of other pods"),
        (any(port["port"] == 4222 for rule in policy["spec"]["egress"] for port in rule["ports"]), "the fleet's server is not reached"),
        # The default lease is 10 s.
        (deployment["spec"]["minReadySeconds"] > 10, "old pods hand over before new ones take streams"),
        (not any(resource["kind"] == "PersistentVolumeClaim" for resource in resources), "pods share one node's volume"),
    ]:
        if not holds:
            fail(f"overlays/fleet-scaled: {otherwise}")


def main():
    validator = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        all_built = built(scratch)
        files = []
        for folder, resources in all_built.items():
            for at, resource in enumerate(resources):
                if resource["kind"] in SCALED and not known_to_keda(folder, resource):
                    fail(f"{folder}: {resource['kind']} has a field that KEDA does not know")
                if resource["kind"] == "ScaledJob":
                    resource = job_of(resource)
                if resource["kind"] in ("Deployment", "Job"):
                    must_hold(folder, resource)
                if resource["kind"] not in FOREIGN | SCALED:
                    files.append(scratch / f"{folder.replace('/', '-')}-{at}.yaml")
                    files[-1].write_text(yaml.safe_dump(resource))
        # That a mistake is seen is seen, too.
        planted = scratch / "planted.yaml"
        deployment = only(all_built["base"], "Deployment")
        planted.write_text(yaml.safe_dump(deployment | {"spec": deployment["spec"] | {"replica": 1}}))
        for version in VERSIONS:
            validate = [validator, "--strict", "--kubernetes-version", version]
            found = subprocess.run([*validate, *files], capture_output=True, text=True)
            if found.returncode != 0:
                fail(f"Kubernetes {version}: {found.stdout}{found.stderr}")
            if subprocess.run([*validate, planted], capture_output=True).returncode == 0:
                fail(f"kubernetes-validate does not see an unknown field of Kubernetes {version}")

    fleet = all_built["overlays/fleet-scaled"]
    for resource in (only(fleet, "ScaledObject"), only(all_built["queue"], "ScaledJob")):
        if known_to_keda("planted", resource | {"spec": resource["spec"] | {"polingInterval": 1}}):
            fail(f"an unknown field of a {resource['kind']} is not seen")
    fleet_holds(fleet, only(fleet, "ScaledObject"))
    for overlay in ("overlays/monitoring", "overlays/fleet-scaled"):
        rule = only(all_built[overlay], "PrometheusRule")
        if rule["spec"] != yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text()):
            fail(f"{overlay}: alerts/prometheus-rule.yaml has other rules than prometheus/alerts.yaml")
    gpu = only(all_built["overlays/gpu"], "Deployment")
    cache = next(volume for volume in gpu["spec"]["template"]["spec"]["volumes"] if volume["name"] == "cache")
    if cache != {"name": "cache", "persistentVolumeClaim": {"claimName": "streamdet-cache"}}:
        fail(f"overlays/gpu: the cache does not outlive the pod: {cache}")
    print(f"manifests: {len(files)} resources, against Kubernetes {' and '.join(VERSIONS)}", file=sys.stderr)


if __name__ == "__main__":
    main()
