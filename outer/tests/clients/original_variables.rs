//! The environment variables of the project this one continues, when they are wrong.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::proxy::Setup;

#[test]
fn a_wrong_value_ends_it_with_one_line_that_names_the_variable() -> Outcome {
    for (variable, value) in [
        ("REGISTRY_BACKEND", "registry-1.docker.io"),
        ("REGISTRY_BACKEND", "ftp://registry.test"),
        ("DEFAULT_BACKEND_HOST", "not a host"),
        ("PROXY_REDIRECT", "perhaps"),
        ("HANDLE_REDIRECT", "2"),
        ("PORT", "http"),
        ("REGISTRY_PROXY_CLIENTS__AUTH", "everybody"),
        ("REGISTRY_PROXY_NO_SUCH_KEY", "1"),
    ] {
        let ended = Setup::new().variable(variable, value).run()?;
        equal("exit status", &ended.status.code(), &Some(2))?;
        let lines: Vec<&str> = ended.errors.lines().collect();
        ensure(
            lines.len() == 1 && lines[0].contains(variable),
            format_args!("{variable}={value}: {}", ended.errors),
        )?;
    }
    Ok(())
}
