//! `registry-proxy completions`, in a real bash.

use std::process::Command;

use crate::fixture::Setup;

/// What bash offers for a line whose last word is being typed.
fn offered(script: &str, words: &[&str]) -> Vec<String> {
    // As readline calls what `complete` has registered.
    let ask = format!(
        "source '{script}'\nset -- $(complete -p registry-proxy)\n\
         while [ $# -gt 0 ]; do [ \"$1\" = -F ] && function=$2; shift; done\n\
         COMP_WORDS=({})\nCOMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\nCOMP_LINE=\"${{COMP_WORDS[*]}}\"\nCOMP_POINT=${{#COMP_LINE}}\n\
         \"$function\" registry-proxy \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
    );
    let output = Command::new("/bin/bash").args(["--norc", "-c", &ask]).output().expect("bash");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn bash_completes_commands_options_and_values() {
    let setup = Setup::new();
    let output = setup.run(&["completions", "bash"]).await;
    assert!(output.status.success());
    let script = setup.file("registry-proxy.bash", &String::from_utf8(output.stdout).unwrap());
    for (words, expected) in [
        (&["registry-proxy", "doc"][..], &["doctor"][..]),
        (&["registry-proxy", "client", "podman"], &["podman", "podman-machine"]),
        (&["registry-proxy", "client", "docker", "--un"], &["--undo"]),
        (&["registry-proxy", "doctor", "--client", "ner"], &["nerdctl"]),
        (&["registry-proxy", "cache", "purge", "--dry"], &["--dry-run"]),
        (&["registry-proxy", "check", "--js"], &["--json"]),
    ] {
        assert_eq!(offered(&script, words), expected, "{words:?}");
    }
    let all = offered(&script, &["registry-proxy", ""]);
    for command in ["serve", "check", "explain", "cache", "client", "doctor", "health", "completions"] {
        assert!(all.iter().any(|offered| offered == command), "{command}: {all:?}");
    }
}

#[tokio::test]
async fn every_shell_has_a_script_and_another_one_is_named() {
    let setup = Setup::new();
    for (shell, part) in [
        ("zsh", "#compdef registry-proxy"),
        ("fish", "complete -c registry-proxy"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer"),
    ] {
        let output = setup.run(&["completions", shell]).await;
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains(part), "{shell}: {script}");
    }
    let output = setup.run(&["completions", "bahs"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("'bash'"), "{said}");
}
