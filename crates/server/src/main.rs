//! The binary `vectorbucket`: the service, its configuration, and the client commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    vb_server::command_line(std::env::args_os())
}
