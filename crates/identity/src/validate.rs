//! What makes a command invalid, whatever is there.

use vb_policy::{Document, Kind};

use crate::Error;
use crate::command::Action;
use crate::sts::{SESSION_S_DEFAULT, SESSION_S_MAX};

/// Longest comment, bytes.
const COMMENT_BYTES_MAX: usize = 256;

/// What can be said of a command without looking at what is there.
pub(crate) fn validate(action: &Action) -> Result<(), Error> {
    let policy =
        |kind, text: &str| Document::parse(kind, text.as_bytes()).map(drop).map_err(Error::Policy);
    match action {
        Action::CreateAccount { comment }
        | Action::SetAccountComment { comment }
        | Action::CreateUser { comment, .. }
        | Action::SetUserComment { comment, .. }
        | Action::CreateGroup { comment, .. }
        | Action::SetGroupComment { comment, .. }
        | Action::SetRoleComment { comment, .. }
        | Action::SetPolicyComment { comment, .. } => check_comment(comment),
        Action::CreateRole { comment, trust, session_s_max, .. } => {
            check_comment(comment)?;
            check_session_max(*session_s_max)?;
            policy(Kind::Trust, trust)
        }
        Action::SetTrust { trust, .. } => policy(Kind::Trust, trust),
        Action::SetSessionMax { session_s_max, .. } => check_session_max(*session_s_max),
        Action::CreatePolicy { comment, text, .. } => {
            check_comment(comment)?;
            policy(Kind::Identity, text)
        }
        Action::SetPolicy { text, .. } | Action::PutInline { text, .. } => {
            policy(Kind::Identity, text)
        }
        _ => Ok(()),
    }
}

fn check_comment(comment: &str) -> Result<(), Error> {
    match comment.len() <= COMMENT_BYTES_MAX && !comment.contains(char::is_control) {
        true => Ok(()),
        false => Err(Error::Invalid("a comment has up to 256 bytes of printable text".into())),
    }
}

fn check_session_max(session_s_max: u32) -> Result<(), Error> {
    match (SESSION_S_DEFAULT..=SESSION_S_MAX).contains(&session_s_max) {
        true => Ok(()),
        false => Err(Error::Invalid("the longest session must be 3600 to 43200 seconds".into())),
    }
}
