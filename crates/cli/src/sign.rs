//! `vectorbucket sign`: an operation as a signed `curl` command.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Arg, ArgMatches, Command, value_parser};

use crate::call::Call;
use crate::client;
use crate::commands;
use crate::connection::{self, Settings};
use crate::failure::Failure;
use crate::output;
use crate::signing::{self, Digest, Signed};

/// Systems limit one argument of a program to 128 KiB.
const ARGUMENT_BYTES_MAX: usize = 100 << 10;

pub(crate) fn command() -> Command {
    Command::new("sign")
        .about("Print an operation as a signed curl command instead of sending it")
        .long_about(
            "Prints an operation as a signed curl command instead of sending it. The command works \
             for 15 minutes, or with --presign for as long as asked, and its body may be edited: \
             the signature does not cover it.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("presign")
                .long("presign")
                .value_name("SECONDS")
                .global(true)
                .value_parser(value_parser!(u32).range(1..=604_800))
                .help("Sign in the URL instead of the headers, valid so long (7 days at most)"),
        )
        .arg(
            Arg::new("body-file")
                .long("body-file")
                .value_name("FILE")
                .global(true)
                .value_parser(value_parser!(PathBuf))
                .help("Write the body there and have curl read it; needed for large bodies"),
        )
        .args(connection::flags())
        .subcommands(commands::subcommands())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let (call, matches) = commands::call(matches)?;
    let settings = connection::read(matches)?;
    if settings.credentials.is_none() {
        return Err(signing::no_credentials());
    }
    let target = client::target(&settings, &call)?;
    let now = SystemTime::now();
    let signed = match matches.get_one::<u32>("presign") {
        Some(seconds) => signing::in_url(&call, &target, &settings, now, *seconds)?,
        None => signing::headers(&call, &target, &settings, now, Digest::None)?,
    };
    let body = body_argument(&call, matches.get_one::<PathBuf>("body-file"))?;
    output::answer(curl(&call, &signed, &settings, &body).as_bytes())
}

/// What follows curl's data option; writes the body file if there is one.
fn body_argument(call: &Call, file: Option<&PathBuf>) -> Result<Vec<String>, Failure> {
    match file {
        _ if call.body.is_empty() => Ok(Vec::new()),
        Some(path) => {
            fs::write(path, &call.body).map_err(|cause| Failure::file(path, cause))?;
            Ok(vec!["--data-binary".to_owned(), format!("@{}", path.display())])
        }
        None if call.body.len() > ARGUMENT_BYTES_MAX => {
            Err(Failure::usage("the body is too large for a command line: give --body-file FILE"))
        }
        None => {
            let text = String::from_utf8(call.body.clone());
            let text =
                text.map_err(|_| Failure::usage("the body is not text: give --body-file FILE"))?;
            Ok(vec!["--data-raw".to_owned(), text])
        }
    }
}

/// The command, a continued line per option.
fn curl(call: &Call, signed: &Signed, settings: &Settings, body: &[String]) -> String {
    let mut lines = vec![format!("curl -sS -X {} {}", call.method, quote(&signed.url))];
    if let Some(address) = settings.connect_to {
        lines.push(format!("--connect-to {}", quote(&format!("::{address}"))));
    }
    for (name, value) in &signed.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        lines.push(format!("-H {}", quote(&format!("{name}: {value}"))));
    }
    if let [option, data] = body {
        lines.push(format!("{option} {}", quote(data)));
    }
    lines.join(" \\\n  ")
}

/// Single-quotes for any shell of the Bourne family.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::{body_argument, command, curl, quote};
    use crate::call::Call;
    use crate::signing::{Digest, headers};
    use crate::stub::example_settings;

    #[test]
    fn quotes_survive_a_shell() {
        for text in ["plain", "it's", "a\nb", "$(x) `y` \"z\" \\", "''"] {
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quote(text)))
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }

    #[test]
    fn the_command_has_method_url_headers_and_body() {
        let settings = example_settings("http://127.0.0.1:9100");
        let call = Call::json("b-1", "queryVectors", br#"{"indexName":"it's"}"#.to_vec());
        let target = crate::client::target(&settings, &call).unwrap();
        let signed =
            headers(&call, &target, &settings, std::time::SystemTime::now(), Digest::None).unwrap();
        let text = curl(&call, &signed, &settings, &body_argument(&call, None).unwrap());
        assert!(
            text.starts_with("curl -sS -X POST 'http://127.0.0.1:9100/b-1/?queryVectors' \\\n"),
            "{text}"
        );
        assert!(text.ends_with(r#"--data-raw '{"indexName":"it'\''s"}'"#), "{text}");
        for header in
            ["authorization: OSS4-HMAC-SHA256 ", "x-oss-date: ", "content-type: application/json"]
        {
            assert!(text.contains(&format!("-H '{header}")), "{header} is missing in {text}");
        }
        assert!(!text.contains("content-md5"));
    }

    #[test]
    fn large_bodies_go_to_a_file() {
        let call = Call::json("b", "putVectors", vec![b'x'; 200_000]);
        assert!(body_argument(&call, None).unwrap_err().to_string().contains("--body-file"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let argument = body_argument(&call, Some(&file.path().to_owned())).unwrap();
        assert_eq!(argument[1], format!("@{}", file.path().display()));
        assert_eq!(std::fs::read(file.path()).unwrap(), call.body);
    }

    #[test]
    fn takes_the_operations_own_flags() {
        let root = Command::new("vectorbucket").subcommand(command());
        let arguments =
            ["vectorbucket", "sign", "get-vector-bucket", "--bucket", "b", "--presign", "60"];
        let matches = root.try_get_matches_from(arguments).unwrap();
        let (call, inner) =
            crate::commands::call(matches.subcommand_matches("sign").unwrap()).unwrap();
        assert_eq!((call.method, call.query_string()), ("GET", "bucketInfo".to_owned()));
        assert_eq!(inner.get_one::<u32>("presign"), Some(&60));
    }
}
