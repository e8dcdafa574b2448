//! Why a start failed, in one line that says what to do, and the exit code that scripts see.

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::config::Invalid;

/// Why the service did not start or did not end well. Each kind has its own exit code.
#[derive(Debug)]
pub enum Failure {
    /// The configuration or the command line is not acceptable. Exit code 2.
    Configuration(String),
    /// An address cannot be listened on. Exit code 3.
    Listen {
        /// Which setting named it.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// There are no usable root credentials. Exit code 4.
    Credentials(String),
    /// The store cannot be opened: locked, unwritable, full. Exit code 5.
    Store(String),
    /// The store does not keep the promises the service builds on. Exit code 6.
    Probe(String),
    /// What is in the store cannot be read. Exit code 7.
    Engine(String),
    /// Requests were still running when the drain time was over. Exit code 8.
    DrainTimeout {
        /// How many connections were cut.
        connections: usize,
    },
    /// A running service refused what a command asked of it. Exit code 1.
    Refused(String),
    /// A running service did not answer a command. Exit code 3.
    Unreachable(String),
    /// The runtime itself could not be made, or a signal handler not be installed. Exit code 1.
    System(std::io::Error),
}

impl Failure {
    /// The process's exit code for this failure.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::System(_) | Self::Refused(_) => 1,
            Self::Configuration(_) => 2,
            Self::Listen { .. } | Self::Unreachable(_) => 3,
            Self::Credentials(_) => 4,
            Self::Store(_) => 5,
            Self::Probe(_) => 6,
            Self::Engine(_) => 7,
            Self::DrainTimeout { .. } => 8,
        }
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        Self::from(failure.code())
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Configuration(invalid.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(what) => write!(f, "configuration: {what}"),
            Self::Listen { setting, address, source } => {
                write!(
                    f,
                    "cannot listen on {address}: {source}; {}",
                    listen_advice(source, setting)
                )
            }
            Self::Credentials(what) => write!(f, "credentials: {what}"),
            Self::Store(what) => write!(f, "store: {what}"),
            Self::Probe(what) => write!(f, "store: the start-up probe failed: {what}"),
            Self::Engine(what) => write!(f, "store: cannot open what is in it: {what}"),
            Self::DrainTimeout { connections } => write!(
                f,
                "{connections} connections were still busy after drain_timeout and were cut; \
                 clients retry them"
            ),
            Self::Refused(what) | Self::Unreachable(what) => f.write_str(what),
            Self::System(source) => write!(f, "system: {source}"),
        }
    }
}

impl std::error::Error for Failure {}

fn listen_advice(source: &std::io::Error, setting: &str) -> String {
    let variable = format!("VECTORBUCKET_{}", setting.to_ascii_uppercase());
    let flag = setting.replace('_', "-");
    match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("stop the process that uses it, or set --{flag} or {variable} to another port")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need a privilege; set --{flag} or {variable} to a higher one")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!("this machine does not have that address; set --{flag} or {variable}")
        }
        _ => format!("check --{flag} or {variable}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_says_what_to_do() {
        let failure = Failure::Listen {
            setting: "admin_listen",
            address: SocketAddr::from(([127, 0, 0, 1], 9101)),
            source: std::io::ErrorKind::AddrInUse.into(),
        };
        let text = failure.to_string();
        assert!(text.contains("127.0.0.1:9101") && text.contains("--admin-listen"), "{text}");
        assert!(text.contains("VECTORBUCKET_ADMIN_LISTEN") && !text.contains('\n'), "{text}");
        assert_eq!(failure.code(), 3);
    }
}
