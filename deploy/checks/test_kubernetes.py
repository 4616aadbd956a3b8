"""The chart, rendered by Helm's own library in many ways; the plain manifests; Kubernetes' schema of both."""

import json
import shutil
import tempfile
import unittest
from pathlib import Path

import helm_python as helm
import jsonschema
import kubernetes_validate
import yaml

from . import DEPLOY, broken, fields

CHART = DEPLOY / "kubernetes/chart"
PLAIN = DEPLOY / "kubernetes/plain"
KUBELET = DEPLOY / "kubernetes/kubelet"
# The oldest that the chart promises, and the newest there is a schema for.
VERSIONS = ("1.25", "1.37")

# What the Prometheus operator defines.
OPERATOR = {"ServiceMonitor": fields.SERVICE_MONITOR, "PrometheusRule": fields.PROMETHEUS_RULE}

WAYS = {
    "as it is": {},
    "daemon set": {"kind": "DaemonSet", "hostPort": 3000, "tolerations": [{"operator": "Exists"}]},
    "nodes that are set up": {
        "kind": "DaemonSet",
        "hostPort": 3000,
        "nodeConfig": {"enabled": True, "registries": ["docker.io"]},
        "secrets": [{"name": "hub", "secretName": "hub-token"}],
    },
    "claim": {"cache": {"kind": "persistentVolumeClaim", "persistentVolumeClaim": {"storageClassName": "fast"}}},
    "claim that is there": {"cache": {"kind": "persistentVolumeClaim", "persistentVolumeClaim": {"existingClaim": "c"}}},
    "bucket": {
        "replicas": 3,
        "cache": {"kind": "objectStore", "objectStore": {"url": "s3://b/p?region=r", "secretName": "keys"}},
        "podDisruptionBudget": {"enabled": True},
    },
    "no cache": {"cache": {"kind": "none"}},
    "everything": {
        "image": {"repository": "r.example/registry-proxy", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "pull"}],
        "env": [{"name": "REGISTRY_BACKEND", "value": "https://registry-1.docker.io"}],
        "secrets": [{"name": "hub", "secretName": "hub-token"}],
        "service": {"type": "LoadBalancer", "port": 8080, "annotations": {"a": "b"}},
        "ingress": {"enabled": True, "host": "proxy.example.com", "className": "nginx", "tlsSecretName": "tls"},
        "serviceAccount": {"annotations": {"a": "b"}},
        "metrics": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
            "grafanaDashboard": {"enabled": True, "annotations": {"grafana_folder": "Registries"}},
        },
        "networkPolicy": {
            "enabled": True,
            "from": [{"namespaceSelector": {}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
            "egressPorts": [443, 5000],
        },
        "podAnnotations": {"a": "b"},
        "podLabels": {"a": "b"},
        "nodeSelector": {"a": "b"},
        "priorityClassName": "high",
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
        ],
    },
}


def render(values, chart=CHART):
    with helm.Chart.load(str(chart)) as loaded:
        files = loaded.render(values, name="demo", namespace="prod")
    manifests = [text for name, text in files.items() if name.endswith(".yaml")]
    return [part for text in manifests for part in yaml.safe_load_all(text) if part]


def faults(parts):
    """Against Kubernetes' schema, the profile "restricted", and what selects what."""
    found = []
    for part in parts:
        name = f"{part['kind']}/{part['metadata']['name']}"
        if part["kind"] in OPERATOR:
            found += fields.faults(part["spec"], OPERATOR[part["kind"]], name)
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(part, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"{name} ({version}): {error.message}")
        if part["kind"] in ("Deployment", "DaemonSet"):
            found += restricted(name, part["spec"]["template"]["spec"])
            found += wiring(name, part, parts)
    return found


def restricted(name, pod):
    """Pod Security Standards, profile "restricted", and a root that cannot be written."""
    found, inner = [], pod["containers"][0].get("securityContext", {})
    outer = pod.get("securityContext", {})
    demands = {
        "runAsNonRoot": outer.get("runAsNonRoot") is True,
        "seccompProfile": outer.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "allowPrivilegeEscalation": inner.get("allowPrivilegeEscalation") is False,
        "capabilities": inner.get("capabilities", {}).get("drop") == ["ALL"],
        "readOnlyRootFilesystem": inner.get("readOnlyRootFilesystem") is True,
        "automountServiceAccountToken": pod.get("automountServiceAccountToken") is False,
    }
    found += [f"{name}: {demand}" for demand, is_met in demands.items() if not is_met]
    for probe, path in {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}.items():
        if pod["containers"][0].get(probe, {}).get("httpGet", {}).get("path") != path:
            found.append(f"{name}: {probe} does not ask {path}")
    return found


def wiring(name, workload, parts):
    """Services select the pods and name their ports; what is mounted is there."""
    template = workload["spec"]["template"]
    labels, pod = template["metadata"]["labels"].items(), template["spec"]
    ports = {port["name"] for port in pod["containers"][0]["ports"]}
    named = {(part["kind"], part["metadata"]["name"]) for part in parts}
    found = []
    if not workload["spec"]["selector"]["matchLabels"].items() <= labels:
        found.append(f"{name}: selects other pods than its own")
    for part in parts:
        if part["kind"] == "Service":
            if not part["spec"]["selector"].items() <= labels:
                found.append(f"Service/{part['metadata']['name']}: selects no pod")
            wrong = {port["targetPort"] for port in part["spec"]["ports"]} - ports
            found += [f"Service/{part['metadata']['name']}: no port {port}" for port in wrong]
    containers = pod["containers"] + pod.get("initContainers", [])
    mounts = {mount["name"] for container in containers for mount in container["volumeMounts"]}
    if mounts != {volume["name"] for volume in pod["volumes"]}:
        found.append(f"{name}: volumes and mounts differ")
    for volume in pod["volumes"]:
        config = volume.get("configMap")
        if config and ("ConfigMap", config["name"]) not in named:
            found.append(f"{name}: there is no ConfigMap {config['name']}")
    return found


def plain(folder=PLAIN):
    """What kubectl apply -k would apply. There is no kustomize in a package registry, and nothing here needs more."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found = [f"{key}: more than is understood here" for key in kustomization.keys()
             - {"apiVersion", "kind", "namespace", "resources", "images"}]
    files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    found += [f"{name}: listed or there, not both" for name in files ^ set(kustomization["resources"])]
    parts = [part for name in sorted(files) for part in yaml.safe_load_all((folder / name).read_text())]
    images = {image["name"] for image in kustomization["images"]}
    for part in parts:
        if part["kind"] != "Namespace" and part["metadata"].get("namespace") != kustomization["namespace"]:
            found.append(f"{part['kind']}: another namespace")
        for container in part.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            if container["image"] not in images:
                found.append(f"{container['image']}: not among the images")
    return found + faults(parts)


class Chart(unittest.TestCase):
    def test_helm_finds_nothing_wrong(self):
        result = helm.lint(str(CHART))
        said = [message["error"] for message in result["messages"]] + result["errors"]
        self.assertEqual([text for text in said if text != "icon is recommended"], [])

    def test_what_is_rendered_is_right(self):
        for way, values in WAYS.items():
            with self.subTest(way):
                self.assertEqual(faults(render(values)), [])

    def test_every_value_has_its_line_in_the_schema(self):
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        schema = json.loads((CHART / "values.schema.json").read_text())
        jsonschema.Draft7Validator.check_schema(schema)
        jsonschema.validate(values, schema)
        self.assertEqual(values.keys(), schema["properties"].keys() - {"global"})

    def test_alerts_and_dashboard_are_those_of_deploy(self):
        parts = {part["kind"] + part["metadata"]["name"]: part for part in render(WAYS["everything"])}
        rules = yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text())
        self.assertEqual(parts["PrometheusRuledemo-registry-proxy"]["spec"], rules)
        shown = parts["ConfigMapdemo-registry-proxy-dashboard"]
        self.assertEqual(shown["metadata"]["labels"]["grafana_dashboard"], "1")
        dashboard = (DEPLOY / "grafana/dashboard.json").read_text()
        self.assertEqual(json.loads(shown["data"]["registry-proxy.json"]), json.loads(dashboard))

    def test_only_what_sets_nodes_up_is_root_and_without_it_there_is_none(self):
        pod = {}
        for way in ("daemon set", "nodes that are set up"):
            workload = next(part for part in render(WAYS[way]) if part["kind"] == "DaemonSet")
            pod[way] = workload["spec"]["template"]["spec"]
        self.assertNotIn("initContainers", pod["daemon set"])
        [node] = pod["nodes that are set up"]["initContainers"]
        self.assertEqual(node["args"][2:], ["client", "containerd", "--write", "--root", "/host", "--url",
                                            "http://127.0.0.1:3000", "--registry", "docker.io"])
        self.assertEqual(node["securityContext"]["capabilities"], {"drop": ["ALL"]})
        self.assertIs(node["securityContext"]["allowPrivilegeEscalation"], False)
        self.assertNotIn("runAsUser", pod["nodes that are set up"]["containers"][0]["securityContext"])
        volumes = {volume["name"]: volume for volume in pod["nodes that are set up"]["volumes"]}
        self.assertEqual(volumes["node-config"]["hostPath"]["path"], "/etc/containerd")

    def test_versions_agree(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        workspace = (DEPLOY.parent / "Cargo.toml").read_text()
        self.assertIn(f'\nversion = "{chart["appVersion"]}"\n', workspace)
        for name in ("compose.yaml", "compose.both-ends.yaml"):
            self.assertIn(f"image: registry-proxy:{chart['appVersion']}\n", (DEPLOY / "container" / name).read_text())

    def test_wrong_values_are_refused(self):
        for values in [
            {"kind": "StatefulSet"},
            {"replica": 2},
            {"hostPort": 70000},
            {"cache": {"kind": "objectStore"}},
            {"cache": {"kind": "disk"}},
            {"ingress": {"enabled": True}},
            {"env": [{"name": "no spaces here"}]},
            {"kind": "DaemonSet", "cache": {"kind": "persistentVolumeClaim"}},
            {"replicas": 2, "cache": {"kind": "persistentVolumeClaim"}},
            {"hostPort": 3000, "nodeConfig": {"enabled": True}},
            {"kind": "DaemonSet", "nodeConfig": {"enabled": True}},
            {"kind": "DaemonSet", "hostPort": 3000, "nodeConfig": {"enabled": True, "registries": ["a b"]}},
        ]:
            with self.subTest(values), self.assertRaises(helm.HelmError):
                render(values)

    def test_a_wrong_template_is_found(self):
        for old, new in [
            ("path: /readyz", "path: /ready"),
            ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
            ("containerPort: 3000", 'containerPort: "3000"'),
            ("drop: [ALL]", "drop: []"),
            ("readinessProbe:", "readynessProbe:"),
            ("- name: metrics\n", "- name: measures\n"),
            ('{{ include "registry-proxy.fullname" . }}\n        - name: cache', "other\n        - name: cache"),
        ]:
            with self.subTest(new), tempfile.TemporaryDirectory() as folder:
                chart = Path(folder) / "chart"
                shutil.copytree(CHART, chart)
                path = chart / "templates/workload.yaml"
                path.write_text(broken(path.read_text(), old, new))
                self.assertNotEqual(faults(render({}, chart)), [])


class Kubelet(unittest.TestCase):
    def test_nodes_may_request_the_tokens_that_the_provider_wants(self):
        parts = list(yaml.safe_load_all((KUBELET / "audience.yaml").read_text()))
        self.assertEqual(faults(parts), [])
        [provider] = yaml.safe_load((KUBELET / "credential-provider.yaml").read_text())["providers"]
        self.assertEqual(provider["args"], ["credential-provider"])
        audience = provider["tokenAttributes"]["serviceAccountTokenAudience"]
        [rule] = parts[0]["rules"]
        self.assertEqual((rule["resources"], rule["verbs"]), ([audience], ["request-serviceaccounts-token-audience"]))


class Plain(unittest.TestCase):
    def test_the_manifests_are_right(self):
        self.assertEqual(plain(), [])

    def test_wrong_ones_are_found(self):
        for name, old, new in [
            ("deployment.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
            ("deployment.yaml", "replicas: 1", "replicas: one"),
            ("service.yaml", "targetPort: http", "targetPort: https"),
            ("kustomization.yaml", "  - service.yaml\n", ""),
            ("persistentvolumeclaim.yaml", "accessModes", "accessMode"),
        ]:
            with self.subTest(new), tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "plain"
                shutil.copytree(PLAIN, copy)
                path = copy / name
                path.write_text(broken(path.read_text(), old, new))
                self.assertNotEqual(plain(copy), [])
