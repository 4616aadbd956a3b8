//! The targets of what we pass on: static Linux binaries.
//!
//! Rust brings musl's library and start files itself. Missing is a C compiler for `ring` and `mimalloc`, which ask so
//! little of a C library that glibc's headers do: what they call is called and looks the same in musl. So the machine's
//! own compiler does for its own processor, and a cross compiler for the other.

use std::path::Path;
use std::process::Command;

use clap::ValueEnum;

use super::Tool;

/// A target that binaries are passed on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    #[value(name = "x86_64")]
    X86_64,
    Arm64,
}

impl Target {
    /// What runs on this machine, and so what is measured and tested.
    pub(crate) const OWN: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::X86_64 };

    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The C compiler, which also links, and the headers that it wants.
    pub(super) fn tools(self) -> Vec<Tool> {
        let (own, tools) = match self {
            Self::X86_64 => (
                cfg!(target_arch = "x86_64"),
                [
                    Tool { name: "x86_64-linux-gnu-gcc", package: "gcc-x86-64-linux-gnu" },
                    Tool { name: "/usr/x86_64-linux-gnu/include/stdlib.h", package: "libc6-dev-amd64-cross" },
                ],
            ),
            Self::Arm64 => (
                cfg!(target_arch = "aarch64"),
                [
                    Tool { name: "aarch64-linux-gnu-gcc", package: "gcc-aarch64-linux-gnu" },
                    Tool { name: "/usr/aarch64-linux-gnu/include/stdlib.h", package: "libc6-dev-arm64-cross" },
                ],
            ),
        };
        if own { vec![Tool { name: "cc", package: "build-essential" }] } else { tools.into() }
    }

    /// What cargo and the `cc` crate are told by the environment.
    pub(crate) fn compiler(self) -> [(String, String); 3] {
        let compiler = self.tools()[0].name.to_owned();
        let (low, high) = (self.triple().replace('-', "_"), self.triple().replace('-', "_").to_uppercase());
        [
            (format!("CC_{low}"), compiler.clone()),
            // Without these some distributions' compilers call functions that glibc alone has.
            (format!("CFLAGS_{low}"), "-std=gnu17 -U_FORTIFY_SOURCE -fno-stack-protector".to_owned()),
            (format!("CARGO_TARGET_{high}_LINKER"), compiler),
        ]
    }
}

/// Whether Rust's library for this target is here. Asks the compiler, because not every Rust comes from rustup.
pub(super) fn is_installed(triple: &str) -> bool {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    output.is_ok_and(|output| {
        let root = String::from_utf8_lossy(&output.stdout);
        Path::new(root.trim()).join("lib/rustlib").join(triple).is_dir()
    })
}
