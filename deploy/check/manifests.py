"""Whether the Kubernetes manifests are right: kustomize builds them, kubernetes-validate knows every field, and what must hold for
every container holds.

    manifests.py KUBERNETES_VALIDATE
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("base", "overlays/gpu", "overlays/monitoring", "annotate", "archive")
# Of the Prometheus operator: kubernetes-validate has no schema of them.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}
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


def main():
    validator = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        shutil.copytree(DEPLOY / "kubernetes", scratch / "kubernetes")
        # As base/kustomization.yaml asks for.
        (scratch / "kubernetes" / "base" / "secret.env").write_text("STREAMDET_TOKEN=for-this-check-only\n")
        built = {folder: kustomize(scratch / "kubernetes" / folder) for folder in FOLDERS}
        files = []
        for folder, resources in built.items():
            for at, resource in enumerate(resources):
                if resource["kind"] in ("Deployment", "Job"):
                    must_hold(folder, resource)
                if resource["kind"] not in FOREIGN:
                    files.append(scratch / f"{folder.replace('/', '-')}-{at}.yaml")
                    files[-1].write_text(yaml.safe_dump(resource))
        # That a mistake is seen is seen, too.
        planted = scratch / "planted.yaml"
        deployment = next(resource for resource in built["base"] if resource["kind"] == "Deployment")
        planted.write_text(yaml.safe_dump(deployment | {"spec": deployment["spec"] | {"replica": 1}}))
        for version in VERSIONS:
            validate = [validator, "--strict", "--kubernetes-version", version]
            found = subprocess.run([*validate, *files], capture_output=True, text=True)
            if found.returncode != 0:
                fail(f"Kubernetes {version}: {found.stdout}{found.stderr}")
            if subprocess.run([*validate, planted], capture_output=True).returncode == 0:
                fail(f"kubernetes-validate does not see an unknown field of Kubernetes {version}")

    rule = next(resource for resource in built["overlays/monitoring"] if resource["kind"] == "PrometheusRule")
    if rule["spec"] != yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text()):
        fail("overlays/monitoring/prometheus-rule.yaml has other rules than prometheus/alerts.yaml")
    gpu = next(resource for resource in built["overlays/gpu"] if resource["kind"] == "Deployment")
    cache = next(volume for volume in gpu["spec"]["template"]["spec"]["volumes"] if volume["name"] == "cache")
    if cache != {"name": "cache", "persistentVolumeClaim": {"claimName": "streamdet-cache"}}:
        fail(f"overlays/gpu: the cache does not outlive the pod: {cache}")
    print(f"manifests: {len(files)} resources, against Kubernetes {' and '.join(VERSIONS)}", file=sys.stderr)


if __name__ == "__main__":
    main()
