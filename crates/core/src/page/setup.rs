//! What the page shows for each client: what to do, and the exact lines.

use super::lookup::Offer;
use super::negotiation::Words;
use super::nodes;
use super::step::{PULL, SetupContext, SetupStep, command_step, file_step};
use crate::client_snippets::{self, CRI_VERSION_3, ContainerdHost, DockerMirror, MirroredRegistry};

/// A client, or clients that are set up alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetupClient {
    Docker,
    Containerd,
    Podman,
    Crio,
    Buildkit,
    Rancher,
    Kubernetes,
    Talos,
    GithubActions,
    Artifacts,
}

impl SetupClient {
    pub(super) const ALL: [Self; 10] = [
        Self::Docker,
        Self::Containerd,
        Self::Podman,
        Self::Crio,
        Self::Buildkit,
        Self::Rancher,
        Self::Kubernetes,
        Self::Talos,
        Self::GithubActions,
        Self::Artifacts,
    ];

    /// As the page's address has it.
    pub(super) fn id(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
            Self::Crio => "crio",
            Self::Buildkit => "buildkit",
            Self::Rancher => "k3s",
            Self::Kubernetes => "kubernetes",
            Self::Talos => "talos",
            Self::GithubActions => "github-actions",
            Self::Artifacts => "artifacts",
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Containerd => "containerd",
            Self::Podman => "Podman · skopeo · Buildah",
            Self::Crio => "CRI-O",
            Self::Buildkit => "BuildKit",
            Self::Rancher => "k3s · RKE2",
            Self::Kubernetes => "Kubernetes",
            Self::Talos => "Talos",
            Self::GithubActions => "GitHub Actions",
            Self::Artifacts => "crane · Helm · ORAS",
        }
    }

    /// What there is to do, in order.
    pub(super) fn steps(self, context: &SetupContext<'_>) -> Vec<SetupStep> {
        let mirrored = context.offer.mirrored();
        match self {
            Self::Docker => docker(context, &mirrored),
            Self::Containerd => containerd(context, &mirrored),
            Self::Podman => nodes::podman(context, &mirrored),
            Self::Crio => nodes::crio(context, &mirrored),
            Self::Buildkit => buildkit(context, &mirrored),
            Self::Rancher => nodes::rancher(context, &mirrored),
            Self::Kubernetes => nodes::kubernetes(context),
            Self::Talos => nodes::talos(context, &mirrored),
            Self::GithubActions => github_actions(context, &mirrored),
            Self::Artifacts => artifacts(context, &mirrored),
        }
    }
}

fn docker(context: &SetupContext<'_>, mirrored: &[MirroredRegistry<'_>]) -> Vec<SetupStep> {
    const DAEMON: &str = "/etc/docker/daemon.json";
    const SHORT_NAMES: Words = Words {
        english: "Or keep the short names: with this, “docker pull alpine” comes through the proxy too. It works for Docker Hub only. Add it to the file, then run: sudo systemctl reload docker",
        chinese: "也可以不改镜像名：配置后 docker pull alpine 也会走本代理，仅对 Docker Hub 有效。加入该文件后执行 sudo systemctl reload docker",
    };
    const FROM_25: Words = Words {
        english: "Or keep the short names: with this, “docker pull alpine” comes through the proxy too. It works for Docker Hub only, from Docker 25 on. Add it to the file, then run: sudo systemctl reload docker",
        chinese: "也可以不改镜像名：配置后 docker pull alpine 也会走本代理，仅对 Docker Hub 有效，需要 Docker 25 及以上版本。加入该文件后执行 sudo systemctl reload docker",
    };
    let address = &context.address;
    let mut steps = Vec::new();
    if address.is_insecure_to_docker() {
        let words = Words {
            english: "This proxy speaks plain HTTP, which Docker refuses until you allow it. Add this to the file, then run: sudo systemctl reload docker (Docker Desktop: Settings, Docker Engine).",
            chinese: "本代理使用明文 HTTP，Docker 默认拒绝。请把下面的内容加入该文件，然后执行 sudo systemctl reload docker（Docker Desktop：Settings → Docker Engine）。",
        };
        steps.push(file_step(DAEMON, words, client_snippets::docker_insecure(address)));
    }
    steps.extend(context.login("docker login"));
    steps.push(command_step(PULL, context.for_examples("docker pull ")));
    // Docker does not log in to a mirror, or sends it the password for Docker Hub.
    let hub = mirrored.iter().find(|mirrored| mirrored.registry == "docker.io" && !context.needs_login());
    if let Some(hub) = hub {
        let mirror = DockerMirror::new(address, hub);
        let words = if mirror.has_path { FROM_25 } else { SHORT_NAMES };
        steps.push(file_step(DAEMON, words, client_snippets::docker_daemon(&mirror)));
    }
    steps
}

fn containerd(context: &SetupContext<'_>, mirrored: &[MirroredRegistry<'_>]) -> Vec<SetupStep> {
    let address = &context.address;
    let mut steps: Vec<_> = context.login("nerdctl login").into_iter().collect();
    match (context.offer, mirrored) {
        (Offer::Registries(_), _) if !context.needs_login() => {
            let words = Words {
                english: "One file sends the pulls of all registries through the proxy. Image names stay as they are, and containerd asks the registry itself where the proxy cannot help.",
                chinese: "一个文件即可让所有镜像仓库的拉取都走本代理。镜像名不变；代理无法提供时，containerd 会直接访问原仓库。",
            };
            let lines = ContainerdHost::for_all(address).file();
            steps.push(file_step("/etc/containerd/certs.d/_default/hosts.toml", words, lines));
        }
        (Offer::Single(_), [alone]) if !context.needs_login() => {
            let words = Words {
                english: "Put this into hosts.toml in the folder that is called like the registry. Image names stay as they are.",
                chinese: "写入以该镜像仓库命名的目录下的 hosts.toml。镜像名不变。",
            };
            let lines = ContainerdHost::for_one(address, alone).file();
            steps.push(file_step("/etc/containerd/certs.d/…/hosts.toml", words, lines));
        }
        (Offer::Registries(_) | Offer::Unsaid | Offer::Single(_), _) => {}
    }
    if !steps.is_empty() && !context.needs_login() {
        let words = Words {
            english: "For Kubernetes (CRI), containerd must be told once where that folder is; then run: sudo systemctl restart containerd. This is for containerd 2; in version 1 the section is called [plugins.\"io.containerd.grpc.v1.cri\".registry].",
            chinese: "用于 Kubernetes（CRI）时，需要指定一次该目录，然后执行 sudo systemctl restart containerd。以下适用于 containerd 2；1.x 中该段名为 [plugins.\"io.containerd.grpc.v1.cri\".registry]。",
        };
        steps.push(file_step(
            "/etc/containerd/config.toml",
            words,
            client_snippets::containerd_main(CRI_VERSION_3),
        ));
    }
    let ctr = format!("ctr images pull {}", context.plain("--plain-http "));
    let nerdctl =
        if address.is_insecure_to_docker() { "nerdctl --insecure-registry pull " } else { "nerdctl pull " };
    let words = Words {
        english: "Without any configuration, put this proxy's address before the image's full name:",
        chinese: "不做任何配置时，在完整镜像名前加上本代理的地址：",
    };
    let commands = if context.needs_login() { nerdctl } else { &ctr };
    steps.push(command_step(if context.needs_login() { PULL } else { words }, context.for_examples(commands)));
    steps
}

fn buildkit(context: &SetupContext<'_>, mirrored: &[MirroredRegistry<'_>]) -> Vec<SetupStep> {
    let mut steps: Vec<_> = context.login("docker login").into_iter().collect();
    if !mirrored.is_empty() {
        let file = Words {
            english: "Write this file. The images that a Dockerfile names then come through the proxy.",
            chinese: "写入该文件，Dockerfile 中引用的镜像就会走本代理。",
        };
        steps.push(file_step("buildkitd.toml", file, client_snippets::buildkitd(&context.address, mirrored)));
        let builder = Words {
            english: "Make a builder that reads it. In the builder's container 127.0.0.1 and localhost are the container itself: give it an address that it reaches.",
            chinese: "创建读取该文件的构建器。构建器容器中的 127.0.0.1 和 localhost 指容器自身，请使用容器可达的地址。",
        };
        let lines = "docker buildx create --use --name proxied --driver docker-container \\\n  --buildkitd-config ./buildkitd.toml\n";
        steps.push(command_step(builder, lines.to_owned()));
    }
    let words = Words {
        english: "Or name the proxy in the Dockerfile:",
        chinese: "也可以在 Dockerfile 中直接写本代理的地址：",
    };
    steps.push(command_step(words, context.for_examples("FROM ")));
    steps
}

fn github_actions(context: &SetupContext<'_>, mirrored: &[MirroredRegistry<'_>]) -> Vec<SetupStep> {
    let mut steps = Vec::new();
    if context.needs_login() {
        let words = Words {
            english: "Log in, with a user name and a password from the repository's secrets:",
            chinese: "登录，用户名和密码取自仓库的 secrets：",
        };
        let lines = format!(
            "- uses: docker/login-action@v3\n  with:\n    registry: {}\n    username: ${{{{ secrets.PROXY_USERNAME }}}}\n    password: ${{{{ secrets.PROXY_PASSWORD }}}}\n",
            context.address.host_in_names()
        );
        steps.push(command_step(words, lines));
    }
    if !mirrored.is_empty() {
        // A job logs in for itself, and dockerd does not log in to a mirror.
        let hub = mirrored.iter().find(|mirrored| mirrored.registry == "docker.io" && !context.needs_login());
        if let Some(hub) = hub {
            let words = Words {
                english: "In the workflow, let the runner's Docker pull from Docker Hub through the proxy. The runner must reach this address.",
                chinese: "在工作流中让 runner 的 Docker 经由本代理拉取 Docker Hub 镜像。runner 必须能访问本地址。",
            };
            let lines = client_snippets::github_actions_docker(&DockerMirror::new(&context.address, hub));
            steps.push(command_step(words, lines));
        }
        let words = Words {
            english: "In the workflow, build with a builder that pulls through the proxy. The runner must reach this address.",
            chinese: "在工作流中使用经由本代理拉取的构建器。runner 必须能访问本地址。",
        };
        steps.push(command_step(words, client_snippets::github_actions_buildx(&context.address, mirrored)));
    }
    let words = Words { english: "A step that pulls an image:", chinese: "拉取镜像的步骤：" };
    steps.push(command_step(words, context.for_examples("- run: docker pull ")));
    steps
}

fn artifacts(context: &SetupContext<'_>, mirrored: &[MirroredRegistry<'_>]) -> Vec<SetupStep> {
    let mut steps: Vec<_> = context.login("docker login").into_iter().collect();
    let crane = context.plain("--insecure ");
    let words = Words {
        english: "These programs have no mirror setting: put this proxy's address before the full name.",
        chinese: "这些工具没有镜像加速设置：在完整名称前加上本代理的地址。",
    };
    steps.push(command_step(words, context.for_examples(&format!("crane digest {crane}"))));
    let elsewhere =
        mirrored.iter().find(|mirrored| mirrored.registry != "docker.io" || mirrored.segment.is_none());
    if let Some(registry) = elsewhere {
        let (place, plain) = (context.address.in_names(registry.segment), context.plain(" --plain-http"));
        let words = Words { english: "Charts and other artifacts:", chinese: "Chart 和其他制品：" };
        let helm = format!("helm pull oci://{place}/owner/charts/app --version 1.2.3{plain}\n");
        steps.push(command_step(words, format!("{helm}oras pull{plain} {place}/owner/artifact:tag\n")));
    }
    steps
}
