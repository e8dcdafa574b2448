//! The command line: `serve`, `config print`, and the client commands of `vb_cli`.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, Effective, SETTINGS, Setting, Sources, StoreUrl, load};
use crate::failure::Failure;
use crate::server::{Handle, Server};
use crate::{commands, dev, logs};

/// Exit code after a second signal during a drain.
const EXIT_INTERRUPTED: i32 = 130;

/// Runs the whole binary with the given arguments and tells its exit code.
pub fn command_line(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match root().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    let Some((name, arguments)) = matches.subcommand() else { return ExitCode::from(2) };
    let outcome = match name {
        "serve" => serve(arguments),
        "config" => print_config(arguments),
        other => match commands::run(other, arguments) {
            Some(Ok(code)) => return ExitCode::from(code),
            Some(Err(failure)) => Err(failure),
            None => return vb_cli::run(other, arguments).unwrap_or(ExitCode::from(2)),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&mut std::io::stderr(), &format!("vectorbucket: {failure}\n"));
            ExitCode::from(&failure)
        }
    }
}

fn root() -> Command {
    Command::new("vectorbucket")
        .about("A self-hosted vector bucket service that speaks the OSS Vectors HTTP API")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve_command())
        .subcommand(config_command())
        .subcommands(commands::commands())
        .subcommands(vb_cli::commands())
}

fn serve_command() -> Command {
    let dev = Arg::new("dev")
        .long("dev")
        .action(ArgAction::SetTrue)
        .help("one machine, loopback: makes its own credentials once and prints how to connect");
    Command::new("serve")
        .about("Serve the API")
        .after_help(exit_code_help())
        .arg(dev)
        .args(setting_args())
}

fn config_command() -> Command {
    let print = Command::new("print")
        .about("Print the effective configuration as TOML, with the source of each value")
        .args(setting_args());
    Command::new("config")
        .about("Show the configuration")
        .subcommand_required(true)
        .subcommand(print)
}

fn exit_code_help() -> &'static str {
    "Every setting is a TOML key and an environment variable VECTORBUCKET_...; `vectorbucket config \
     print` lists them.\nExit codes: 0 stopped, 1 system, 2 configuration, 3 address, 4 credentials, \
     5 store, 6 store probe, 7 store contents, 8 drain timeout, 130 second signal."
}

fn setting_args() -> Vec<Arg> {
    std::iter::once(file_arg()).chain(SETTINGS.iter().filter_map(setting_arg)).collect()
}

/// The flags of commands that only need to know the store.
pub(crate) fn store_args() -> Vec<Arg> {
    let settings = SETTINGS.iter().filter(|setting| setting.key == "store");
    std::iter::once(file_arg()).chain(settings.filter_map(setting_arg)).collect()
}

fn file_arg() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env("VECTORBUCKET_CONFIG")
        .hide_env_values(true)
        .value_parser(clap::value_parser!(std::path::PathBuf))
        .help("TOML file with settings")
}

fn setting_arg(setting: &'static Setting) -> Option<Arg> {
    let flag = setting.flag?;
    let arg = Arg::new(setting.key).long(flag).help(setting.help).value_name("VALUE");
    let arg = if setting.switch {
        arg.num_args(0..=1).require_equals(true).default_missing_value("true")
    } else {
        arg.num_args(1)
    };
    Some(arg.action(ArgAction::Set))
}

/// Reads flags, environment and file into one checked configuration. A command may have some of the
/// flags only.
pub(crate) fn effective(arguments: &ArgMatches) -> Result<Effective, Failure> {
    let path = arguments.get_one::<std::path::PathBuf>("config");
    let file = path.map(|path| {
        std::fs::read_to_string(path)
            .map_err(|e| Failure::Configuration(format!("cannot read {}: {e}", path.display())))
    });
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let flags: Vec<(&'static str, String)> = SETTINGS
        .iter()
        .filter(|s| s.flag.is_some())
        .filter_map(|s| Some((s.key, arguments.try_get_one::<String>(s.key).ok()??.clone())))
        .collect();
    let file = file.transpose()?;
    Ok(load(&Sources { file: file.as_deref(), environment: &environment, flags: &flags })?)
}

fn print_config(arguments: &ArgMatches) -> Result<(), Failure> {
    // `print` is the only subcommand and one is required.
    let Some((_, arguments)) = arguments.subcommand() else { return Ok(()) };
    let effective = effective(arguments)?;
    say(&mut std::io::stdout(), &effective.to_string());
    Ok(())
}

fn serve(arguments: &ArgMatches) -> Result<(), Failure> {
    let Effective { mut config, unknown_variables, .. } = effective(arguments)?;
    logs::install(&config.log)?;
    for name in unknown_variables {
        tracing::warn!(name, "environment variable names no setting and is ignored");
    }
    let dev = arguments.get_flag("dev").then(|| dev::prepare(&mut config)).transpose()?;
    let runtime = Runtime::new().map_err(Failure::System)?;
    runtime.block_on(run(&config, dev.as_ref()))
}

/// Serves until a signal, then drains; a second signal ends the process at once. SIGHUP makes it
/// read again what can change while it runs.
async fn run(config: &Config, dev: Option<&dev::Dev>) -> Result<(), Failure> {
    let mut stop = StopSignals::install()?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(Failure::System)?;
    let handle = tokio::select! {
        started = Server::start(config) => started?,
        () = stop.received() => return Ok(()),
    };
    announce(config, &handle, dev)?;
    loop {
        tokio::select! {
            () = stop.received() => break,
            _ = hang_up.recv() => handle.reload_certificates(),
        }
    }
    tracing::info!(drain_timeout = ?config.drain_timeout, "stopping");
    tokio::select! {
        ended = handle.shutdown() => ended.inspect(|()| tracing::info!("stopped")),
        () = stop.received() => std::process::exit(EXIT_INTERRUPTED),
    }
}

fn announce(config: &Config, handle: &Handle, dev: Option<&dev::Dev>) -> Result<(), Failure> {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %handle.addr(),
        tls = config.tls.certificate_file.is_some(),
        admin_listen = %handle.admin_addr(),
        region = config.region,
        store = store_text(config),
        kernels = %kernels(config),
        "serving"
    );
    if !config.fsync {
        tracing::warn!("fsync is off: a power failure loses acknowledged writes");
    }
    if let Some(dev) = dev {
        dev.publish(config, handle)?;
        say(&mut std::io::stdout(), &dev.how_to_connect(config, handle));
    }
    Ok(())
}

fn store_text(config: &Config) -> String {
    match &config.store {
        StoreUrl::Local(dir) => dir.display().to_string(),
        StoreUrl::Memory => "memory".to_owned(),
        StoreUrl::Remote(options) => options.to_string(),
    }
}

/// The instruction set that computes distances.
fn kernels(config: &Config) -> vb_kernel::Level {
    config.kernels.unwrap_or_else(|| vb_kernel::Kernels::detect().level())
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn install() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(Failure::System);
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Writes to the user; a closed pipe is not an error of the service.
pub(crate) fn say(out: &mut impl std::io::Write, text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        root().debug_assert();
    }

    #[test]
    fn flags_reach_the_configuration() {
        let line = ["vectorbucket", "serve", "--listen", "127.0.0.1:0", "--insecure-http"];
        let matches = root().try_get_matches_from(line).unwrap();
        let (_, serve) = matches.subcommand().unwrap();
        let effective = effective(serve).unwrap();
        assert_eq!(effective.config.listen.port(), 0);
        assert!(effective.config.insecure_http);
        assert!(!effective.config.admin_listen.ip().is_unspecified());
    }
}
