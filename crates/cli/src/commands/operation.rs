//! An operation as data, and the one function that builds its request.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::value::RawValue;
pub(super) use vb_api::oss::Operation as Api;

use crate::call::Call;
use crate::failure::Failure;
use crate::values;

/// How an operation is addressed and what its flags become.
pub(super) struct Operation {
    /// Subcommand name: the API name in kebab case.
    pub(super) name: &'static str,
    /// Method, query key and level, from the interface's own table.
    pub(super) api: Api,
    pub(super) about: &'static str,
    pub(super) fields: &'static [Field],
}

/// One flag and its place in the request.
pub(super) struct Field {
    /// Flag name, without the dashes.
    pub(super) flag: &'static str,
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) help: &'static str,
}

/// Where a value goes.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// A member of the JSON body.
    Member(&'static str),
    /// The body itself, byte for byte.
    Body,
    /// A query parameter of its own.
    Query(&'static str),
    /// The value of the selecting query key.
    SelectValue,
    Header(&'static str),
}

/// What a value is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Integer,
    /// True when given without a value or with `true`.
    Bool,
    /// JSON, or `file://PATH` of it.
    Json,
    /// Comma-separated or a JSON array.
    Keys,
}

impl Field {
    pub(super) const fn new(
        flag: &'static str,
        place: Place,
        kind: Kind,
        help: &'static str,
    ) -> Self {
        Self { flag, place, kind, required: false, help }
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    fn argument(&self) -> Arg {
        let argument = Arg::new(self.flag).long(self.flag).help(self.help).required(self.required);
        let argument = argument.action(ArgAction::Set);
        match self.kind {
            Kind::Text => argument.value_name("TEXT"),
            Kind::Integer => argument
                .value_name("N")
                .value_parser(value_parser!(i64))
                .allow_negative_numbers(true),
            Kind::Bool => argument
                .value_name("true|false")
                .num_args(0..=1)
                .default_missing_value("true")
                .value_parser(value_parser!(bool)),
            Kind::Json => argument.value_name("JSON|file://PATH"),
            Kind::Keys => argument.value_name("A,B|JSON|file://PATH"),
        }
    }

    /// The flag's value, if given.
    fn value(&self, matches: &ArgMatches) -> Result<Option<Value>, Failure> {
        let text = || matches.get_one::<String>(self.flag);
        Ok(match self.kind {
            Kind::Text => text().map(|text| Value::Text(text.clone())),
            Kind::Integer => matches.get_one::<i64>(self.flag).map(|n| Value::Raw(values::raw(n))),
            Kind::Bool => matches.get_one::<bool>(self.flag).map(|b| Value::Raw(values::raw(b))),
            Kind::Json => {
                text().map(|text| values::json(self.flag, text)).transpose()?.map(Value::Raw)
            }
            Kind::Keys => text()
                .map(|text| values::keys(self.flag, text))
                .transpose()?
                .map(|keys| Value::Raw(values::raw(&keys))),
        })
    }
}

enum Value {
    Text(String),
    Raw(Box<RawValue>),
}

impl Value {
    fn into_raw(self) -> Box<RawValue> {
        match self {
            Self::Text(text) => values::string(&text),
            Self::Raw(raw) => raw,
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Raw(raw) => Box::<str>::from(raw).into_string(),
        }
    }
}

/// The flag that names the bucket.
pub(super) fn bucket_flag() -> Arg {
    Arg::new("bucket").long("bucket").value_name("NAME").help("Vector bucket").required(true)
}

impl Operation {
    pub(super) fn command(&self) -> Command {
        let bucket = self.has_bucket().then(bucket_flag);
        Command::new(self.name)
            .about(self.about)
            .args(bucket)
            .args(self.fields.iter().map(Field::argument))
    }

    /// The request that these flags describe.
    pub(super) fn call(&self, matches: &ArgMatches) -> Result<Call, Failure> {
        let mut parts = Parts::default();
        for field in self.fields {
            if let Some(value) = field.value(matches)? {
                parts.place(field.place, value)?;
            }
        }
        let select = Some(self.api.key()).filter(|key| !key.is_empty());
        let select = select.map(|key| (key.to_owned(), parts.select_value));
        let bucket = self.has_bucket().then(|| matches.get_one::<String>("bucket").cloned());
        Ok(Call {
            method: self.api.method(),
            bucket: bucket.flatten(),
            query: select.into_iter().chain(parts.query).collect(),
            headers: parts.headers,
            body: match parts.body {
                Some(body) => body,
                None if self.has_json_body() => object(&parts.members),
                None => Vec::new(),
            },
        })
    }

    /// Only the bucket list is about no bucket.
    fn has_bucket(&self) -> bool {
        self.api != Api::ListVectorBuckets
    }

    /// Whether the body is a JSON object of the members given.
    fn has_json_body(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.place, Place::Member(_)))
    }
}

/// The parts of a request while its flags are read.
#[derive(Default)]
struct Parts {
    select_value: String,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    members: Vec<(&'static str, Box<RawValue>)>,
    body: Option<Vec<u8>>,
}

impl Parts {
    fn place(&mut self, place: Place, value: Value) -> Result<(), Failure> {
        match place {
            Place::Member(name) => self.members.push((name, value.into_raw())),
            Place::Body => self.body = Some(values::text(&value.into_text())?.into_bytes()),
            Place::Query(name) => self.query.push((name.to_owned(), value.into_text())),
            Place::SelectValue => self.select_value = value.into_text(),
            Place::Header(name) => self.headers.push((name, value.into_text())),
        }
        Ok(())
    }
}

/// A JSON object of raw members, in order.
pub(crate) fn object(members: &[(&str, Box<RawValue>)]) -> Vec<u8> {
    let mut out = String::from("{");
    for (number, (name, value)) in members.iter().enumerate() {
        out.push_str(if number == 0 { "\"" } else { ",\"" });
        // Names are wire constants and need no escape.
        out.push_str(name);
        out.push_str("\":");
        out.push_str(value.get());
    }
    out.push('}');
    out.into_bytes()
}
