//! The steps for Podman and its relatives, and for the nodes of Kubernetes.

use super::negotiation::Words;
use super::step::{PULL, SetupContext, SetupStep, command_step, file_step};
use crate::client_snippets::{self, MirroredRegistry};

const REGISTRIES_CONF: &str = "/etc/containers/registries.conf.d/50-registry-proxy.conf";

pub(super) fn podman(context: &SetupContext<'_>, mirrored: &[MirroredRegistry<'_>]) -> Vec<SetupStep> {
    let flag = context.plain("--tls-verify=false ");
    let mut steps: Vec<_> = context.login(format!("podman login {flag}").trim_end()).into_iter().collect();
    let pulls = context.for_examples(&format!("podman pull {flag}"));
    let copies = context.for_examples(&format!("skopeo inspect {flag}docker://"));
    steps.push(command_step(PULL, format!("{pulls}{copies}")));
    let words = Words {
        english: "Or keep image names as they are: with this file the proxy is asked first, and the registry itself where the proxy cannot help. Without root it belongs into ~/.config/containers/registries.conf.d/.",
        chinese: "也可以不改镜像名：写入该文件后会先访问本代理，代理无法提供时再访问原仓库。非 root 用户请放到 ~/.config/containers/registries.conf.d/。",
    };
    steps.extend(conf_step(context, mirrored, words));
    steps
}

pub(super) fn crio(context: &SetupContext<'_>, mirrored: &[MirroredRegistry<'_>]) -> Vec<SetupStep> {
    let words = Words {
        english: "Write this file on every node, then run: sudo systemctl reload crio. Image names stay as they are.",
        chinese: "在每个节点上写入该文件，然后执行 sudo systemctl reload crio。镜像名不变。",
    };
    let mut steps: Vec<_> = conf_step(context, mirrored, words).into_iter().collect();
    // Over plain HTTP it takes no name of a server that its configuration does not allow.
    if context.address.is_https {
        steps.push(command_step(PULL, context.for_examples("crictl pull ")));
    }
    steps
}

fn conf_step(context: &SetupContext<'_>, mirrored: &[MirroredRegistry<'_>], words: Words) -> Option<SetupStep> {
    let lines = client_snippets::registries_conf(&context.address, mirrored);
    (!mirrored.is_empty()).then(|| file_step(REGISTRIES_CONF, words, lines))
}

pub(super) fn rancher(context: &SetupContext<'_>, mirrored: &[MirroredRegistry<'_>]) -> Vec<SetupStep> {
    if mirrored.is_empty() {
        return kubernetes(context);
    }
    let words = Words {
        english: "Write this file on every node (RKE2: /etc/rancher/rke2/registries.yaml), then restart the service: sudo systemctl restart k3s. Image names stay as they are.",
        chinese: "在每个节点上写入该文件（RKE2：/etc/rancher/rke2/registries.yaml），然后重启服务：sudo systemctl restart k3s。镜像名不变。",
    };
    let mut lines = client_snippets::rancher_registries(&context.address, mirrored);
    if context.needs_login() {
        lines.push_str(&client_snippets::rancher_login(&context.address));
    }
    vec![file_step("/etc/rancher/k3s/registries.yaml", words, lines)]
}

pub(super) fn kubernetes(context: &SetupContext<'_>) -> Vec<SetupStep> {
    let mut steps = Vec::new();
    if context.needs_login() {
        let words = Words {
            english: "Store the login once in each namespace, and name it under imagePullSecrets:",
            chinese: "在每个命名空间中保存一次登录信息，并在 imagePullSecrets 中引用：",
        };
        let host = context.address.host_in_names();
        let lines = format!(
            "kubectl create secret docker-registry registry-proxy \\\n  --docker-server={host} \\\n  --docker-username=YOUR-NAME --docker-password=YOUR-PASSWORD\n"
        );
        steps.push(command_step(words, lines));
    }
    let words = Words {
        english: "Put this proxy's address before the image's full name. To keep names as they are, set up the nodes instead: see containerd, CRI-O, k3s or Talos here.",
        chinese: "在完整镜像名前加上本代理的地址。若不想改镜像名，请改为配置节点：见本页的 containerd、CRI-O、k3s 或 Talos。",
    };
    steps.push(command_step(words, context.for_examples("image: ")));
    steps
}

pub(super) fn talos(context: &SetupContext<'_>, mirrored: &[MirroredRegistry<'_>]) -> Vec<SetupStep> {
    if mirrored.is_empty() {
        return kubernetes(context);
    }
    let file = Words {
        english: "Write this file (Talos 1.12 or later; for earlier versions see docs/how-to/talos.md):",
        chinese: "写入该文件（Talos 1.12 及以上版本；更早的版本见 docs/how-to/talos.md）：",
    };
    let apply = Words { english: "Apply it to the nodes:", chinese: "应用到节点：" };
    vec![
        file_step("mirrors.yaml", file, client_snippets::talos(&context.address, mirrored)),
        command_step(apply, "talosctl patch mc --patch @mirrors.yaml\n".to_owned()),
    ]
}
