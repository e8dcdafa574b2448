//! `invoke-operation`: any operation by its method and query, also ones without a command here.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};

use crate::call::Call;
use crate::failure::Failure;
use crate::values;

const METHODS: [&str; 4] = ["GET", "PUT", "POST", "DELETE"];

pub(super) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("invoke-operation")
        .about("Call any operation by its method and query")
        .arg(
            text(
                "op-name",
                "NAME",
                "API name, such as putVectorIndexFusion; the query key if \
                    --parameters is not given",
            )
            .required(true),
        )
        .arg(
            text("method", "METHOD", "HTTP method")
                .required(true)
                .ignore_case(true)
                .value_parser(PossibleValuesParser::new(METHODS)),
        )
        .arg(text("parameters", "KEY[=VALUE][&...]", "Query parameters"))
        .arg(text("bucket", "NAME", "Vector bucket; without it the account is asked"))
        .arg(text("body", "TEXT|file://PATH", "Request body"))
}

pub(super) fn call(matches: &ArgMatches) -> Result<Call, Failure> {
    let text = |name: &str| matches.get_one::<String>(name);
    let given = text("method").expect("clap requires a method");
    let parameters = text("parameters").or_else(|| text("op-name")).expect("clap requires a name");
    Ok(Call {
        method: METHODS
            .into_iter()
            .find(|method| method.eq_ignore_ascii_case(given))
            .expect("clap admits only these methods"),
        bucket: text("bucket").cloned(),
        query: parameters.split('&').filter(|pair| !pair.is_empty()).map(pair).collect(),
        headers: Vec::new(),
        body: text("body")
            .map(|body| values::text(body))
            .transpose()?
            .unwrap_or_default()
            .into_bytes(),
    })
}

fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}
