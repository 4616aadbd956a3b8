"""Fields that configuration files may have, where their vendors' tools cannot be had from a package registry."""

# devsapp/fc3, src/schema.json (component of Serverless Devs), read 2026-11; custom.debian11 and 12 since v0.1.22, 2026-05-28.
# A value is a type, a tuple of what is allowed, a range, a list of one (a list of those) or a dict of fields.
HEALTH_CHECK = {
    "httpGetUrl": str,
    "initialDelaySeconds": int,
    "periodSeconds": int,
    "timeoutSeconds": int,
    "failureThreshold": int,
    "successThreshold": int,
}
FC3 = {
    "functionName": str,
    "region": (
        "ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3",
        "ap-southeast-5", "ap-southeast-7", "cn-beijing", "cn-chengdu", "cn-hangzhou", "cn-hongkong", "cn-huhehaote",
        "cn-qingdao", "cn-shanghai", "cn-shenzhen", "cn-zhangjiakou", "eu-central-1", "eu-west-1", "us-east-1",
        "us-west-1",
    ),
    "runtime": ("custom", "custom.debian10", "custom.debian11", "custom.debian12", "custom-container"),
    "description": str,
    "code": str,
    "cpu": range(0, 17),
    "memorySize": range(128, 32769, 64),
    "diskSize": (512, 10240),
    "timeout": range(1, 86401),
    "instanceConcurrency": range(1, 201),
    "internetAccess": bool,
    "role": str,
    "environmentVariables": {"*": str},
    "customRuntimeConfig": {
        "command": [str],
        "args": [str],
        "port": range(1, 65536),
        "healthCheckConfig": HEALTH_CHECK,
    },
    "customContainerConfig": {
        "image": str,
        "entrypoint": [str],
        "command": [str],
        "port": range(1, 65536),
        "healthCheckConfig": HEALTH_CHECK,
    },
    "triggers": [{
        "triggerName": str,
        "triggerType": ("http", "timer"),
        "description": str,
        "qualifier": str,
        "triggerConfig": {
            "authType": ("anonymous", "function"),
            "authConfig": str,
            "disableURLInternet": bool,
            "methods": [("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")],
            # Of a timer: what it sends, and when. `CRON_TZ=zone` in front names the time zone.
            "enable": bool,
            "cronExpression": str,
            "payload": str,
        },
    }],
}
FC3_REQUIRED = {"functionName", "region", "runtime"}

# Serverless Cloud Framework, component scf: cloud.tencent.com/document/product/1154/43228, read 2026-11.
SCF = {
    "name": str,
    "src": str,
    "type": ("event", "web"),
    "runtime": ("CustomRuntime", "Go1"),
    "region": str,
    "memorySize": range(64, 3073, 64),
    "timeout": range(1, 901),
    "publicAccess": bool,
    "role": str,
    "environment": {"variables": {"*": str}},
    "events": [{
        "http": {
            "parameters": {
                "qualifier": str,
                "authType": ("NONE", "CAM"),
                "netConfig": {"enableIntranet": bool, "enableExtranet": bool},
            },
        },
    }],
}
SCF_REQUIRED = {"name", "src", "type", "runtime", "region"}

# monitoring.coreos.com/v1 ServiceMonitor: prometheus-operator's API reference, the part that is used here.
SERVICE_MONITOR = {
    "selector": {"matchLabels": {"*": str}},
    "endpoints": [{"port": str, "path": str, "interval": str}],
}
# monitoring.coreos.com/v1 PrometheusRule, likewise.
PROMETHEUS_RULE = {
    "groups": [
        {
            "name": str,
            "rules": [
                {
                    "alert": str,
                    "expr": str,
                    "for": str,
                    "labels": {"severity": ("critical", "warning")},
                    "annotations": {"summary": str, "runbook_url": str},
                }
            ],
        }
    ],
}


def faults(value, allowed, place=""):
    """What of a parsed file is not in such a table."""
    if isinstance(allowed, dict):
        if not isinstance(value, dict):
            return [f"{place}: expected fields"]
        found = []
        for name, inner in value.items():
            rule = allowed.get(name, allowed.get("*"))
            where = f"{place}.{name}".lstrip(".")
            found += faults(inner, rule, where) if rule else [f"{where}: there is no such field"]
        return found
    if isinstance(allowed, list):
        if not isinstance(value, list):
            return [f"{place}: expected a list"]
        return [fault for i, inner in enumerate(value) for fault in faults(inner, allowed[0], f"{place}[{i}]")]
    if isinstance(allowed, tuple):
        return [] if value in allowed else [f"{place}: {value!r} is none of {allowed}"]
    if isinstance(allowed, range):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = is_number and (value in allowed if isinstance(value, int) else 0 < value < allowed.stop)
        return [] if fits else [f"{place}: {value!r} is not within {allowed}"]
    fits = isinstance(value, allowed) and (allowed is bool or not isinstance(value, bool))
    return [] if fits else [f"{place}: {value!r} is no {allowed.__name__}"]
