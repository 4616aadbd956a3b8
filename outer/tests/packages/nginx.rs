//! deploy/nginx: nginx takes the file, and an image goes through it.

use std::fs;
use std::path::Path;

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::process::{Program, Service, Tool, wait_until};
use registry_proxy_outer::proxy::{Setup, free_port};
use registry_proxy_outer::registry::{Registry, Seed};
use registry_proxy_outer::{Context, Outcome, http};
use tempfile::TempDir;

use crate::DEADLINE;

/// nginx with the file of deploy/nginx, its ports and its upstream replaced.
struct Nginx {
    _service: Service,
    _folder: TempDir,
    address: String,
}

fn start(proxy: &str) -> Outcome<Nginx> {
    let folder = tempfile::tempdir()?;
    let inside = |name: &str| folder.path().join(name).display().to_string();
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()])?.self_signed(&key)?;
    fs::write(inside("cert.pem"), certificate.pem())?;
    fs::write(inside("key.pem"), key.serialize_pem())?;

    let (plain, secure) = (free_port()?, free_port()?);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx/registry-proxy.conf");
    let mut site = fs::read_to_string(&file).context(file.display())?;
    for (old, new) in [
        ("listen [::]:80;\n", String::new()),
        ("listen [::]:443 ssl http2;\n", String::new()),
        ("listen 80;", format!("listen 127.0.0.1:{plain};")),
        ("listen 443 ssl", format!("listen 127.0.0.1:{secure} ssl")),
        ("server 127.0.0.1:3000;", format!("server {proxy};")),
        ("/etc/ssl/proxy/fullchain.pem", inside("cert.pem")),
        ("/etc/ssl/proxy/key.pem", inside("key.pem")),
    ] {
        ensure(site.contains(old), format_args!("`{old}` is not in the file"))?;
        site = site.replace(old, &new);
    }
    let whole = format!(
        "daemon off; pid {}; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {};\nproxy_temp_path {};\nfastcgi_temp_path {};\nuwsgi_temp_path {};\n\
         scgi_temp_path {};\n{site}\n}}\n",
        inside("pid"),
        inside("1"),
        inside("2"),
        inside("3"),
        inside("4"),
        inside("5"),
    );
    let path = inside("nginx.conf");
    fs::write(&path, whole)?;
    let said = Program::tool(Tool::NGINX)?.arguments(["-t", "-q", "-e", "stderr", "-c", &path]).run(DEADLINE)?;
    ensure(said.errors.is_empty(), format_args!("nginx says:\n{}", said.errors))?;
    said.success()?;
    let program = Program::tool(Tool::NGINX)?.arguments(["-e", "stderr", "-c", &path]);
    let service = program.start(&folder.path().join("log"))?;
    let client = http::Client::new()?;
    wait_until("nginx should answer", DEADLINE, || {
        let answer = client.get(format!("http://127.0.0.1:{plain}/v2/")).ask();
        Ok(answer.ok().filter(|answer| answer.status == 308))
    })?;
    Ok(Nginx { _service: service, _folder: folder, address: format!("localhost:{secure}") })
}

#[test]
fn an_image_goes_through_nginx_in_both_directions() -> Outcome {
    let seed = Seed::prepare(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let (registry, empty) = (Registry::seeded(&seed)?, Registry::fresh()?);
    let proxy = Setup::new()
        .config("trusted_proxies = [\"127.0.0.1/32\"]")
        .upstream("reg.test", registry.address(), &["default = true"])
        .upstream("empty.test", empty.address(), &["push = true"])
        .start()?;
    let nginx = start(&proxy.address().to_string())?;
    let image = format!("{}/reg.test/library/large:v1", nginx.address);
    let skopeo = Skopeo::new()?;
    let copied = skopeo.pull(&image, &[])?;
    equal("large", &copied.digests()?, &seed.catalogue().large.digests())?;
    // Layers of any size go up, too.
    let target = format!("{}/empty.test/library/copy:v1", nginx.address);
    skopeo.push(&format!("docker://{image}"), &target, &["--src-tls-verify=false"])?;
    let again = skopeo.pull(&target, &[])?;
    equal("the copy", &again.digests()?, &seed.catalogue().large.digests())
}
